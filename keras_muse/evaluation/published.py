"""What others have published, to stand beside one's own numbers.

The one place of these numbers: `evaluate` shows them, and
`python -m keras_muse.evaluation.published > benchmarks/results/published.md`
writes the page of them.
"""

import dataclasses

_ARXIV = "https://arxiv.org/abs/"
_MUSE = "[Muse](https://arxiv.org/abs/2301.00704)"
_IMAGEN = "[Imagen](https://arxiv.org/abs/2205.11487)"


@dataclasses.dataclass(frozen=True)
class Row:
    """One published model. What was not stated is an empty string.

    Args:
        model: string.
        paper: string. Its number at arXiv, or a link.
        kind: string. How it draws.
        parameters: string.
        fid: string.
        clip_score: string.
        stated_by: string. Where these numbers stand.
    """

    model: str
    paper: str
    kind: str
    parameters: str
    fid: str
    clip_score: str = ""
    stated_by: str = _MUSE

    def cells(self):
        link = self.paper if "://" in self.paper else _ARXIV + self.paper
        return (
            f"[{self.model}]({link})",
            self.kind,
            self.parameters,
            self.fid,
            self.clip_score,
            self.stated_by,
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that were measured alike, and how that was."""

    title: str
    about: str
    rows: tuple


_AR, _DIFFUSION, _GAN = "autoregressive", "diffusion", "GAN"
_MASKED = "masked tokens"
_TABLE_1, _TABLE_2 = f"{_MUSE}, table 1", f"{_MUSE}, table 2"
_OF_IMAGEN = f"{_IMAGEN}, table 1"

_CC3M = Table(
    "CC3M",
    "All are trained on CC3M, and measured on its validation set at 256 x 256 "
    "pixels. The paper states neither how many pictures nor which CLIP.",
    (
        Row("VQGAN", "2012.09841", _AR, "600M", "28.86", "0.20", _TABLE_1),
        Row(
            "ImageBART",
            "2108.08827",
            "diffusion and autoregressive",
            "2.8B",
            "22.61",
            "0.23",
            _TABLE_1,
        ),
        Row(
            "LDM-4", "2112.10752", _DIFFUSION, "645M", "17.01", "0.24", _TABLE_1
        ),
        Row(
            "RQ-Transformer",
            "2203.01941",
            _AR,
            "654M",
            "12.33",
            "0.26",
            _TABLE_1,
        ),
        Row(
            "Draft-and-revise",
            "2206.04452",
            _MASKED,
            "654M",
            "9.65",
            "0.26",
            _TABLE_1,
        ),
        Row(
            "Muse, base",
            "2301.00704",
            _MASKED,
            "632M",
            "6.8",
            "0.25",
            _TABLE_1,
        ),
        Row(
            "Muse, base and super-resolution",
            "2301.00704",
            _MASKED,
            "632M + 268M",
            "6.06",
            "0.26",
            _TABLE_1,
        ),
        Row(
            "MUSE-Pytorch",
            "https://github.com/baaivision/MUSE-Pytorch",
            _MASKED,
            "501M",
            "6.84",
            "",
            "its README: 18 steps, 30,000 pictures",
        ),
    ),
)

_COCO = Table(
    "COCO",
    "FID of 30,000 pictures at 256 x 256 pixels. Imagen (section 4.1): the "
    "prompts are drawn randomly from the validation set, and the pictures are "
    "compared with those of the full validation set. None of these models was "
    'trained on COCO, but those whose kind says "of COCO". The paper states '
    "no CLIP.",
    (
        Row(
            "AttnGAN", "1711.10485", "GAN of COCO", "", "35.49", "", _OF_IMAGEN
        ),
        Row("DM-GAN", "1904.01310", "GAN of COCO", "", "32.64", "", _OF_IMAGEN),
        Row("DF-GAN", "2008.05865", "GAN of COCO", "", "21.42", "", _OF_IMAGEN),
        Row("XMC-GAN", "2101.04702", "GAN of COCO", "", "9.33", "", _OF_IMAGEN),
        Row("LAFITE", "2111.13792", "GAN of COCO", "", "8.12", "", _OF_IMAGEN),
        Row("DALL-E", "2102.12092", _AR, "12B", "17.89", "", _TABLE_2),
        Row("LAFITE", "2111.13792", _GAN, "", "26.94", "", _OF_IMAGEN),
        Row("LDM", "2112.10752", _DIFFUSION, "1.45B", "12.63", "", _TABLE_2),
        Row("GLIDE", "2112.10741", _DIFFUSION, "", "12.24", "", _TABLE_2),
        Row("DALL-E 2", "2204.06125", _DIFFUSION, "", "10.39", "", _TABLE_2),
        Row(
            "Imagen",
            "2205.11487",
            _DIFFUSION,
            "3.4B",
            "7.27",
            "about 0.27",
            f"{_TABLE_2}; CLIP in its text",
        ),
        Row("Parti-3B", "2206.10789", _AR, "3B", "8.10", "", _TABLE_2),
        Row("Parti-20B", "2206.10789", _AR, "20B", "7.23", "", _TABLE_2),
        Row(
            "Parti-20B, finetuned",
            "2206.10789",
            "autoregressive, of COCO",
            "20B",
            "3.22",
            "",
            "[Parti](https://arxiv.org/abs/2206.10789), abstract",
        ),
        Row("Muse-3B", "2301.00704", _MASKED, "3B", "7.88", "0.32", _TABLE_2),
    ),
)

# By the names of the protocols.
TABLES = {"cc3m": _CC3M, "coco": _COCO}

_HEADER = ("model", "kind", "parameters", "FID", "CLIP score", "stated by")
_PAGE = """# Published numbers

What `keras-muse evaluate --protocol cc3m` and `--protocol coco` show beside
their own. Written by `python -m keras_muse.evaluation.published`; a test keeps
the two equal. No number of this page was measured here.

{tables}

Of Stable Diffusion the paper states no FID. It compares Muse-3B with Stable
Diffusion 1.4 by people, on the 1,650 prompts of PartiPrompts, the best of 16
candidates of each by CLIP: Muse was preferred for 70.6 % of them, Stable
Diffusion for 25.4 %, neither for 4 %.
"""


def page():
    """All tables, as the text of a Markdown file."""
    tables = [
        f"## {table.title}\n\n{table.about}\n\n"
        + "\n".join(as_table(table.rows))
        for table in TABLES.values()
    ]
    return _PAGE.format(tables="\n\n".join(tables))


def as_table(rows):
    """Lines of a Markdown table."""
    yield f"| {' | '.join(_HEADER)} |"
    yield "|---" * len(_HEADER) + "|"
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"


def beside(protocol, own):
    """One's own rows, and below them the published ones.

    Args:
        protocol: string. A name in `TABLES`.
        own: list of `(description, scores)`, where scores is a dict that may
            have `"frechet_distance"` and `"clip_score"`.

    Returns:
        List of lines of Markdown.
    """
    table = TABLES[protocol]
    header = _HEADER[:1] + _HEADER[3:]
    lines = [table.about, "", f"| {' | '.join(header)} |"]
    lines.append("|---" * len(header) + "|")
    for description, scores in own:
        numbers = [
            f"{scores[name]:.4g}" if name in scores else ""
            for name in ("frechet_distance", "clip_score")
        ]
        lines.append(f"| {' | '.join([description, *numbers, 'here'])} |")
    for row in table.rows:
        cells = (row.model, row.fid, row.clip_score, row.stated_by)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print(page(), end="")

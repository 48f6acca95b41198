"""The report of an evaluation: JSON, a table, a contact sheet, a curve."""

import importlib
import os
import pathlib
import statistics

import keras
import numpy as np

from keras_muse.evaluation import published
from keras_muse.evaluation.front import draw_front
from keras_muse.evaluation.front import mark_front
from keras_muse.files.whole import write_json
from keras_muse.files.whole import write_text
from keras_muse.files.whole import write_whole
from keras_muse.training import draw_sections

# Keys that describe a setting; all others are scores.
_SETTING = (
    "split",
    "guidance_scale",
    "num_steps",
    "seed",
    "num_pictures",
    "num_references",
    "image_size",
)
# What stands in a row beside its scores.
_BESIDE = ("shown", "true", "nearest")
# Files that not every report has.
_OPTIONAL = ("nearest.png", "pareto.png")


def write_report(directory, rows, reconstructions, about):
    """Writes what `evaluate` and `evaluate_tokenizer` returned.

    `scores.json` has all of it, `"scores"` as the means over seeds with their
    standard deviations in `"spread"`, each seed's own in `"runs"`, and those
    of true pictures, the ceiling, in `"true_pictures"`; `scores.md` has the
    means as tables; `sheet.png` shows drawn pictures of the first seed above
    their texts; `nearest.png`, where copies were looked for, those that are
    nearest to a training picture, each before it; `pareto.png`, of several
    settings with scores of both, what guidance and steps cost in distance and
    bring for the texts.

    Args:
        directory: string. It appears whole or not at all, and has no pictures
            of an earlier report; other files stay.
        rows: list of dicts from `evaluate`, each with `"split"` added.
        reconstructions: list of dicts from `evaluate_tokenizer`.
        about: dict of strings and numbers: what was measured, and how. Beside
            the scores of the `"protocol"` `"coco"` or `"cc3m"` stand those
            that others have published.

    Returns:
        List of strings: lines of the table of these, if there is one.
    """
    about = {**about, "versions": _versions()}
    runs = [
        {name: value for name, value in row.items() if name not in _BESIDE}
        for row in rows
    ]
    scores = over_seeds(runs)
    ceilings = true_pictures(rows)
    for split in {row["split"] for row in scores}:
        mark_front([row for row in scores if row["split"] == split])
    with write_whole(directory) as temporary:
        contents = {
            **about,
            "scores": scores,
            "true_pictures": ceilings,
            "reconstructions": reconstructions,
            "runs": runs,
        }
        write_json(os.path.join(temporary, "scores.json"), contents)
        text = as_markdown(about, scores, reconstructions, ceilings)
        write_text(os.path.join(temporary, "scores.md"), text)
        draw_sheet(rows, about, os.path.join(temporary, "sheet.png"))
        if any("nearest" in row for row in rows):
            draw_nearest(rows, os.path.join(temporary, "nearest.png"))
        if any("on_front" in row for row in scores):
            draw_front(scores, os.path.join(temporary, "pareto.png"))
        written = os.listdir(temporary)
    for name in set(_OPTIONAL) - set(written):
        pathlib.Path(directory, name).unlink(missing_ok=True)
    return beside_published(about, scores)


def _versions():
    names = ("keras", keras.config.backend(), "numpy")
    # `__version__`, for the names on PyPI may differ (tensorflow-cpu).
    return ", ".join(
        f"{name} {importlib.import_module(name).__version__}" for name in names
    )


def _title(row):
    return (
        f"{row['split']}, guidance {row['guidance_scale']:g}, "
        f"{row['num_steps']} steps"
    )


def true_pictures(rows):
    """The scores of true pictures, once a split: a list of dicts."""
    splits = {row["split"]: row.get("true", {}) for row in rows}
    return [{"split": split, **true} for split, true in splits.items() if true]


def over_seeds(runs):
    """Runs that differ in their seed alone as one: means and spreads."""
    groups = {}
    for run in runs:
        setting = run["split"], run["guidance_scale"], run["num_steps"]
        groups.setdefault(setting, []).append(run)
    return [_mean_of(group) for group in groups.values()]


def _mean_of(runs):
    row = {name: value for name, value in runs[0].items() if name != "seed"}
    if len(runs) > 1:
        measured = [name for name in runs[0] if name not in _SETTING]
        values = {name: [run[name] for run in runs] for name in measured}
        row |= {name: statistics.mean(x) for name, x in values.items()}
        row["spread"] = {n: statistics.stdev(x) for n, x in values.items()}
    return {**row, "num_seeds": len(runs)}


# === Tables ===

_CEILING = (
    "True pictures are scored as if they had been drawn: against their texts; "
    "as a set, against as many others or half against half; and, where two "
    "pictures are compared, as another hand's drawing of the same thing."
)


def as_markdown(about, scores, reconstructions, ceilings=()):
    """The report as text."""
    ceilings = [{"guidance_scale": "true pictures", **row} for row in ceilings]
    lines = ["# Scores", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    for title, rows in (
        ("Pictures", [*scores, *ceilings]),
        ("Reconstructions", reconstructions),
    ):
        if rows:
            lines += ["", f"## {title}", "", *_table(rows)]
    if ceilings:
        lines += ["", _CEILING]
    others = beside_published(about, scores)
    if others:
        lines += ["", "## Beside what is published", "", *others]
    return "\n".join(lines) + "\n"


def beside_published(about, scores):
    """Lines of Markdown, of a protocol of which something is published."""
    if about.get("protocol") not in published.TABLES:
        return []
    own = [
        (f"{_title(row)}, {row['num_pictures']} pictures", row)
        for row in scores
    ]
    return published.beside(about["protocol"], own)


def _table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name != "spread"]
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"
    for row in rows:
        cells = [as_text(row, name) for name in names]
        yield f"| {' | '.join(cells)} |"


def as_text(row, name):
    """One score of a row of `over_seeds`, with its spread."""
    value, spread = row.get(name, ""), row.get("spread", {})
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{text} ± {spread[name]:.2g}" if name in spread else text


# === Sheets ===


def draw_sheet(rows, about, path):
    """Draws pictures of the first seed; the file keeps how they were drawn."""
    rows = [row for row in rows if row["seed"] == rows[0]["seed"]]
    sections = [
        (_title(row), row["shown"]["images"], row["shown"]["texts"])
        for row in rows
    ]
    made = None
    if "preset" in about and all("parameters" in row["shown"] for row in rows):
        made = [
            {**one, "preset": about["preset"]}
            for row in rows
            for one in row["shown"]["parameters"]
        ]
    draw_sections(sections, path=path, parameters=made)


def draw_nearest(rows, path):
    """Draws the pictures that are nearest to a training picture, and these."""
    sections = []
    for row in rows:
        if "nearest" in row and row["seed"] == rows[0]["seed"]:
            near = row["nearest"]
            pairs = np.stack([near["drawn"], near["images"]], axis=1)
            texts = []
            for prompt, distance, text in zip(
                near["prompts"],
                near["distances"],
                near["texts"],
                strict=True,
            ):
                texts += [prompt, f"trained on, {distance:.2f}: {text}"]
            images = pairs.reshape(-1, *pairs.shape[2:])
            sections.append((_title(row), images, texts))
    draw_sections(sections, path=path)

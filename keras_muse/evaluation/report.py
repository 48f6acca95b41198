"""The report of an evaluation: JSON, a table, a contact sheet, a curve."""

import importlib
import json
import operator
import os
import statistics

import keras

from keras_muse.evaluation import published
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
# A distance and what is gained for it, for the curve; the first pair that was
# measured is drawn.
_TRADE_OFFS = (
    ("kernel_distance", "r_precision"),
    ("frechet_distance", "clip_score"),
)


def write_report(directory, rows, reconstructions, about):
    """Writes what `evaluate` and `evaluate_tokenizer` returned.

    `scores.json` has all of it, `"scores"` as the means over seeds with their
    standard deviations in `"spread"`, and each seed's own in `"runs"`;
    `scores.md` has the means as tables; `sheet.png` shows drawn pictures of
    the first seed above their texts; `pareto.png`, of several settings, what
    guidance and steps cost and bring.

    Args:
        directory: string. It appears whole or not at all.
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
        {name: value for name, value in row.items() if name != "shown"}
        for row in rows
    ]
    scores = over_seeds(runs)
    for split in {row["split"] for row in scores}:
        mark_front([row for row in scores if row["split"] == split])
    with write_whole(directory) as temporary:
        with open(os.path.join(temporary, "scores.json"), "w") as file:
            contents = {
                **about,
                "scores": scores,
                "reconstructions": reconstructions,
                "runs": runs,
            }
            json.dump(contents, file, indent=2)
        with open(os.path.join(temporary, "scores.md"), "w") as file:
            file.write(as_markdown(about, scores, reconstructions))
        sections = [
            (_title(row), row["shown"]["images"], row["shown"]["texts"])
            for row in rows
            if row["seed"] == rows[0]["seed"]
        ]
        draw_sections(sections, path=os.path.join(temporary, "sheet.png"))
        if any("on_front" in row for row in scores):
            draw_front(scores, os.path.join(temporary, "pareto.png"))
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


def as_markdown(about, scores, reconstructions):
    """The report as text."""
    lines = ["# Scores", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    for title, rows in (
        ("Pictures", scores),
        ("Reconstructions", reconstructions),
    ):
        if rows:
            lines += ["", f"## {title}", "", *_table(rows)]
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


# === The Pareto front ===


def trade_off(rows):
    """Names of the two scores to hold against each other, or `None`."""
    for names in _TRADE_OFFS:
        if all(name in row for row in rows for name in names):
            return names
    return None


def mark_front(rows):
    """Adds `"on_front"`: whether no other setting is better in both scores."""
    names = trade_off(rows)
    if len(rows) < 2 or names is None:
        return
    points = [(-row[names[0]], row[names[1]]) for row in rows]
    for row, point in zip(rows, points, strict=True):
        row["on_front"] = not any(
            other != point and all(map(operator.ge, other, point))
            for other in points
        )


def draw_front(rows, path):
    """Draws the settings as points, and their front as a line."""
    from matplotlib.figure import Figure

    distance, gain = trade_off(rows)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for split in dict.fromkeys(row["split"] for row in rows):
        points = [row for row in rows if row["split"] == split]
        drawn = axes.scatter(
            [row[gain] for row in points],
            [row[distance] for row in points],
            label=split,
        )
        front = sorted(
            (row[gain], row[distance]) for row in points if row.get("on_front")
        )
        if front:
            axes.plot(*zip(*front, strict=True), color=drawn.get_facecolor()[0])
        for row in points:
            axes.annotate(
                f" {row['guidance_scale']:g} / {row['num_steps']}",
                (row[gain], row[distance]),
                fontsize="x-small",
            )
    axes.set_xlabel(f"{gain} (more is better); labels: guidance / steps")
    axes.set_ylabel(f"{distance} (less is better)")
    axes.legend()
    figure.savefig(path, dpi=150)

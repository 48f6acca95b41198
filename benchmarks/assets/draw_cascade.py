"""Draws the figure of the cascade, as SVG.

    python benchmarks/assets/draw_cascade.py --output tutorials/cascade.svg

Grey is frozen or has no weights, blue is trained by `fit`, white is data; what
goes along an arrow has its shape beside it, at the paper's sizes.
"""

import argparse

import matplotlib

matplotlib.use("svg")
# The same bytes from the same code, and letters that stay letters.
matplotlib.rcParams["svg.hashsalt"] = "keras_muse"
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["font.family"] = "sans-serif"

from matplotlib import patches  # noqa: E402
from matplotlib import pyplot  # noqa: E402

TRAINED, FROZEN, DATA = "#cfe2f7", "#e6e6e6", "#ffffff"
INK = "#333333"

# Name, centre, width, colour, lines.
BOXES = [
    ("prompt", (1.2, 3.0), 1.7, DATA, ["prompt", "“a red apple”"]),
    ("text", (3.7, 3.0), 1.9, FROZEN, ["text encoder", "T5-XXL, MiniLM"]),
    (
        "base",
        (6.7, 4.3),
        2.2,
        TRAINED,
        ["base", "24 steps, all tokens", "at once"],
    ),
    ("super", (6.7, 1.7), 2.2, TRAINED, ["super_res", "8 steps"]),
    ("small", (9.9, 4.3), 2.0, TRAINED, ["image_tokenizer", "factor 16"]),
    ("large", (9.9, 1.7), 2.0, TRAINED, ["another one", "factor 8"]),
    ("small_picture", (12.6, 4.3), 1.5, DATA, ["256 px"]),
    ("large_picture", (12.6, 1.7), 1.5, DATA, ["512 px"]),
]
HEIGHT = 1.1
# From, to, and what goes along.
ARROWS = [
    ("prompt", "text", ""),
    ("text", "base", "text states\n128 x 4096"),
    ("text", "super", ""),
    ("base", "small", "tokens\n16 x 16"),
    ("super", "large", "tokens\n64 x 64"),
    ("small", "small_picture", ""),
    ("large", "large_picture", ""),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="an .svg file")
    options = parser.parse_args()
    figure, axes = pyplot.subplots(figsize=(9.2, 3.4))
    axes.set_xlim(0, 13.6)
    axes.set_ylim(0.9, 5.9)
    axes.set_aspect("equal")
    axes.axis("off")
    places = {name: (centre, width) for name, centre, width, _, _ in BOXES}
    for _, centre, width, colour, lines in BOXES:
        draw_box(axes, centre, width, colour, lines)
    for start, end, label in ARROWS:
        draw_arrow(axes, places[start], places[end], label)
    # The small tokens are what super-resolution reads, beside the text.
    axes.annotate(
        "",
        xy=(6.9, 1.7 + HEIGHT / 2),
        xytext=(6.9, 4.3 - HEIGHT / 2),
        arrowprops=arrow_style(),
    )
    axes.text(7.05, 3.0, "16 x 16 tokens", va="center", size=7.5, color=INK)
    draw_edit(axes)
    figure.tight_layout(pad=0.2)
    figure.savefig(options.output, metadata={"Date": None})


def draw_box(axes, centre, width, colour, lines):
    x, y = centre
    axes.add_patch(
        patches.FancyBboxPatch(
            (x - width / 2, y - HEIGHT / 2),
            width,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.9,
        )
    )
    for i, line in enumerate(lines):
        offset = ((len(lines) - 1) / 2 - i) * 0.3
        size, weight = (9, "bold") if i == 0 else (7.5, "normal")
        axes.text(
            *(x, y + offset, line),
            ha="center",
            va="center",
            size=size,
            weight=weight,
            color=INK,
        )


def draw_arrow(axes, start, end, label):
    (x_1, y_1), width_1 = start
    (x_2, y_2), width_2 = end
    left, right = x_1 + width_1 / 2, x_2 - width_2 / 2
    axes.annotate(
        "", xy=(right, y_2), xytext=(left, y_1), arrowprops=arrow_style()
    )
    if label:
        x, y = (left + right) / 2, (y_1 + y_2) / 2
        is_level = y_1 == y_2
        axes.text(
            *(x - (0 if is_level else 0.12), y + (0.08 if is_level else 0.1)),
            label,
            ha="center" if is_level else "right",
            va="bottom",
            size=7.5,
            color=INK,
        )


def arrow_style():
    return {
        "arrowstyle": "-|>",
        "color": INK,
        "linewidth": 0.9,
        "shrinkA": 1,
        "shrinkB": 1,
    }


def draw_edit(axes):
    """What editing adds: known tokens of a picture."""
    axes.text(
        *(6.7, 5.55, "inpaint, outpaint, edit: tokens of a picture are known"),
        ha="center",
        va="center",
        size=7.5,
        style="italic",
        color=INK,
    )
    axes.annotate(
        "",
        xy=(6.7, 4.3 + HEIGHT / 2),
        xytext=(6.7, 5.4),
        arrowprops={**arrow_style(), "linestyle": "--"},
    )


if __name__ == "__main__":
    main()

"""What half an hour of `keras-muse train` makes of 500 captioned emoji.

They are OpenMoji's (CC-BY-SA-4.0), a hand that no bundled model has seen: its
licence keeps them out of what is bundled. The packages are those of
`assets/build_emoji.py`, and `pip install resvg_py` draws them:

    npm pack emojibase-data@17.0.0 @iconify-json/openmoji@1.2.29
    python benchmarks/own_emoji.py --packages . --write openmoji
    keras-muse train openmoji --output out --minutes 30

`train` itself says how its held-out rows are predicted, and draws them.
"""

import argparse
import io
import pathlib
import random

from assets.build_emoji import iconify_drawings
from assets.build_emoji import open_package
from assets.build_emoji import read_things
from PIL import Image

from keras_muse.data.decoding import decode
from keras_muse.data.emoji import SKIN_TONE

SIZE = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", required=True, help="where .tgz lie")
    parser.add_argument("--write", required=True, help="a new directory")
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    drawings = emoji(options.packages)
    random.Random(0).shuffle(drawings)
    write(drawings[: options.count], pathlib.Path(options.write))


def emoji(packages):
    """`(name, caption, PNG)` of every emoji that has no skin tone."""
    things = read_things(open_package(packages, "emojibase-data"))
    draw = iconify_drawings(
        open_package(packages, "iconify-json-openmoji"), SIZE
    )
    drawn = [
        (thing["code"], thing["text"], draw(thing))
        for thing in things
        if SKIN_TONE not in thing["text"]
    ]
    return [row for row in drawn if row[2] is not None]


def write(rows, directory):
    """Each drawing as a PNG on white, beside a text file with its caption."""
    directory.mkdir(parents=True)
    for name, caption, content in rows:
        picture = Image.fromarray(decode(content, (SIZE, SIZE)))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        (directory / f"{name}.png").write_bytes(buffer.getvalue())
        (directory / f"{name}.txt").write_text(f"{caption}\n")


if __name__ == "__main__":
    main()

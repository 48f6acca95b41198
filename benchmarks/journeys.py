"""How far a reader travels: the files of the package that one call enters.

Counts, for calls on tiny models, the files whose functions run, the functions,
and how often control moves from a file to another. Fewer are easier to follow.

    python benchmarks/journeys.py
    python benchmarks/journeys.py --json
"""

import argparse
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")
ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from table import print_rows  # noqa: E402

import keras_muse  # noqa: E402
from tests.helpers import tiny  # noqa: E402
from tests.helpers import tiny_muse  # noqa: E402

PACKAGE = f"{pathlib.Path(keras_muse.__file__).parent}{os.sep}"
# Not functions that have a name in the text.
NAMELESS = ("<module>", "<listcomp>", "<genexpr>", "<lambda>", "<dictcomp>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [{"call": name, **count(call)} for name, call in calls()]
    print_rows(rows, options.json, "Journeys")


def calls():
    """Yields names and functions, each of which is called once."""
    muse, base = tiny_muse.tiny_muse(), tiny.tiny_base()
    options = {"num_steps": 2, "super_res_num_steps": 2, "seed": 1}
    options["verbose"] = 0
    images = muse.generate("a red apple", **options)
    masks = np.zeros(images.shape[1:3], "bool")
    masks[:8] = True
    yield "Muse.generate", lambda: muse.generate("a red apple", **options)
    yield (
        "Muse.inpaint",
        lambda: muse.inpaint(images, masks, "a cat", **options),
    )
    yield "MuseBase()", tiny.tiny_base
    base.compile()
    data = tiny.tiny_data(base, 8)
    yield "MuseBase.fit", lambda: base.fit(data, batch_size=4, verbose=0)
    yield "MuseBase.fit again", lambda: base.fit(data, batch_size=4, verbose=0)
    tokenizer, pictures = tiny.tiny_tokenizer(), tiny.tiny_images(8)
    tokenizer.compile(perceptual=None, adversarial_weight=0)
    yield (
        "VQGANTokenizer.fit",
        lambda: tokenizer.fit(pictures, batch_size=4, verbose=0),
    )
    with tempfile.TemporaryDirectory() as directory:
        muse.save_to_preset(f"{directory}/muse")
        yield (
            "Muse.from_preset",
            lambda: keras_muse.Muse.from_preset(f"{directory}/muse"),
        )


def count(call):
    """Runs a call and counts where it went."""
    events = []

    def record(frame, event, argument):
        code = frame.f_code
        inside = code.co_filename.startswith(PACKAGE)
        if event == "call" and inside and code.co_name not in NAMELESS:
            events.append((code.co_filename, code.co_name))

    sys.setprofile(record)
    try:
        call()
    finally:
        sys.setprofile(None)
    files = [file for file, _ in events]
    return {
        "files": len(set(files)),
        "functions": len(set(events)),
        "moves": sum(a != b for a, b in zip(files, files[1:], strict=False)),
    }


if __name__ == "__main__":
    main()

"""Parameters of the paper's architectures, beside what the paper says.

No weight is allocated, so that the 3 billion take no memory.

    python benchmarks/parameter_counts.py
    python benchmarks/parameter_counts.py --json
"""

import argparse
import math

import keras
from table import print_rows

import keras_muse
from keras_muse.models.presets.architectures import ARCHITECTURES

# Millions, and where the paper says so. It gives no count for the others.
PAPER = {
    "muse_base_632m": (632, "Table 1"),
    "muse_base_3b": (3000, "abstract, rounded"),
    "muse_super_res_268m": (268, "Table 1"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [count_row(name) for name in ARCHITECTURES]
    print_rows(rows, options.json, "Parameters, in millions")


def count_row(name):
    class_name, _ = ARCHITECTURES[name]
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras_muse, class_name).from_preset(
            name, load_weights=False
        )
    count = sum(math.prod(w.shape) for w in model.trainable_variables) / 1e6
    row = {"name": name, "class": class_name, "millions": round(count, 2)}
    if name in PAPER:
        paper, where = PAPER[name]
        row["paper_millions"] = paper
        row["percent_off"] = round(100 * (count / paper - 1), 2)
        row["where"] = where
    return row


if __name__ == "__main__":
    main()

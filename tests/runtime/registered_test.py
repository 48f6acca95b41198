"""Saved models load in a process that has touched no class yet."""

import ast
import os
import pathlib
import subprocess
import sys

import keras

from keras_muse.layers import FSQ
from keras_muse.layers import FeedForward
from keras_muse.models import PictureTextScorer
from keras_muse.runtime import registered
from tests.helpers import tiny

ROOT = pathlib.Path(__file__).parents[2]

# Keras is imported after the package here, and before it there.
LOAD = """
import pathlib, sys
import keras_muse
import keras

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    print(path.stem, type(model).__name__, model.compiled)
"""
RESOLVE = """
import sys
import keras
import keras_muse
from keras_muse.files import hub

saved_class = hub.loader(sys.argv[1]).check_backbone_class()
assert issubclass(saved_class, keras_muse.MuseBase)
assert not issubclass(saved_class, keras_muse.VQGANTokenizer)
known = keras.saving.get_custom_objects()
for name, stand_in in list(known.items()):
    if name.startswith("keras_muse>"):
        assert stand_in.get_config  # whatever it is asked for
        assert keras.saving.get_registered_name(known[name]) == name
        print(name)
"""


def run(script, *arguments):
    """The lines that a script prints, in a fresh process."""
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.splitlines()


def registered_in_source():
    """`{module: names}` of the classes that have the decorator."""
    found = {}
    package = ROOT / "keras_muse"
    for path in sorted(package.rglob("*.py")):
        names = [
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
            and any(
                "register_keras_serializable" in ast.unparse(decorator)
                for decorator in node.decorator_list
            )
        ]
        if names:
            parts = path.relative_to(package).with_suffix("").parts
            found[".".join(parts)] = " ".join(sorted(names))
    return found


def test_every_registered_class_has_a_stand_in():
    assert registered.CLASSES == registered_in_source()


def test_every_stand_in_becomes_its_class_when_it_is_asked(tmp_path):
    names = {
        f"keras_muse>{name}"
        for names in registered.CLASSES.values()
        for name in names.split()
    }
    tiny.tiny_base(num_layers=1).save_to_preset(tmp_path / "base")
    assert set(run(RESOLVE, tmp_path / "base")) == names


def test_keras_alone_loads_what_was_saved(tmp_path):
    base = tiny.tiny_base(num_layers=1)
    base.compile()
    models = {
        "base": base,
        "layer": keras.Sequential([keras.Input((8, 6)), FeedForward(12)]),
        "scorer": PictureTextScorer(hidden_dim=8, embedding_dim=4),
        "super_res": tiny.tiny_super_res(num_layers=1),
        "tokenizer": tiny.tiny_tokenizer(
            quantizer=FSQ((5, 3)), codebook_size=8192, codebook_dim=256
        ),
        "uvit": tiny.tiny_uvit(num_layers=1),
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    assert run(LOAD, tmp_path) == [
        f"{name} {type(model).__name__} {model.compiled}"
        for name, model in models.items()
    ]

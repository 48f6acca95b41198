"""Damage of every kind, to one file of every kind.

What is damaged either loads, as finite numbers of the right shapes, or is
refused by a `ValueError` that names the file. Nothing else comes of it:
nothing is written, no code is run.
"""

import gc
import json
import shutil

import numpy as np
import pytest

from tests.helpers.file_kinds import Adapter
from tests.helpers.file_kinds import Averages
from tests.helpers.file_kinds import BasePreset
from tests.helpers.file_kinds import Budget
from tests.helpers.file_kinds import Configuration
from tests.helpers.file_kinds import Flax
from tests.helpers.file_kinds import KerasWeights
from tests.helpers.file_kinds import MuseJson
from tests.helpers.file_kinds import OldTorch
from tests.helpers.file_kinds import OrbaxAverages
from tests.helpers.file_kinds import OrbaxCheckpoint
from tests.helpers.file_kinds import Preset
from tests.helpers.file_kinds import PresetInShards
from tests.helpers.file_kinds import Resumed
from tests.helpers.file_kinds import Safetensors
from tests.helpers.file_kinds import SafetensorsShards
from tests.helpers.file_kinds import SentencePieces
from tests.helpers.file_kinds import Shards
from tests.helpers.file_kinds import Torch
from tests.helpers.file_kinds import WordPieces
from tests.helpers.file_kinds import Yaml

# Each with the number of mutations: a model takes a second to load.
KINDS = {
    Safetensors: 24,
    SafetensorsShards: 24,
    Torch: 24,
    OldTorch: 24,
    Flax: 24,
    KerasWeights: 24,
    Adapter: 24,
    Budget: 16,
    Averages: 16,
    OrbaxCheckpoint: 8,
    OrbaxAverages: 8,
    Resumed: 8,
    Shards: 24,
    WordPieces: 16,
    SentencePieces: 16,
    Yaml: 16,
    MuseJson: 24,
    Configuration: 16,
    Preset: 4,
    PresetInShards: 4,
    BasePreset: 3,
}


# === Damage ===


OTHER_VALUES = (None, True, -1, 0, 0.5, "x", "", [], [1], {}, {"x": 1})


def damage_bytes(contents, generator):
    """Cut, longer, or with other bytes in some places."""
    kind = generator.integers(5)
    size = len(contents)
    if kind == 0:
        return contents[: generator.integers(size)]
    if kind == 1:
        return contents + generator.bytes(40)
    contents = bytearray(contents)
    # Where formats say what there is: at the begin, and at the end.
    start = int(generator.choice([0, 0, size // 2, max(size - 600, 0)]))
    if kind == 2:
        place = start + int(generator.integers(min(600, size - start)))
        run = int(generator.integers(1, 64))
        run = min(run, size - place)
        value = int(generator.choice([0, 255]))
        contents[place : place + run] = bytes([value] * run)
        return bytes(contents)
    for _ in range(generator.integers(1, 5)):
        place = start + int(generator.integers(min(600, size - start)))
        contents[place] = int(generator.integers(256))
    return bytes(contents)


def damage_json(contents, generator):
    """One value, at any depth, becomes one of another type, or is gone."""
    parsed = json.loads(contents)
    places = list(places_in(parsed))
    branch, key = places[generator.integers(len(places))]
    if generator.integers(4) == 0:
        del branch[key]
    else:
        other = OTHER_VALUES[generator.integers(len(OTHER_VALUES))]
        branch[key] = other
    return json.dumps(parsed).encode()


def places_in(tree):
    keys = tree if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places_in(tree[key])


def damage(path, generator):
    contents = path.read_bytes()
    as_json = path.suffix == ".json" and generator.integers(4)
    damaged = (damage_json if as_json else damage_bytes)(contents, generator)
    path.write_bytes(damaged)


# === The campaign ===


def snapshot(directory):
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


# Orbax leaves behind what it had begun to read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_by_the_name_of_the_file(kind, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    format = kind()
    format.make(whole)
    expected = {k: v.shape for k, v in format.load(whole).items()}
    files = sorted(
        p for p in whole.rglob("*") if p.is_file() and p.stat().st_size
    )
    num_refused = 0
    for number in range(KINDS[kind]):
        generator = np.random.default_rng([number, len(kind.__name__)])
        directory = tmp_path / "set" / "damaged"
        shutil.copytree(whole, directory)
        path = files[generator.integers(len(files))].relative_to(whole)
        damage(directory / path, generator)
        before = snapshot(tmp_path)
        try:
            loaded = format.load(directory)
        except ValueError as error:
            num_refused += 1
            assert str(directory) in str(error), f"{number} {path}: {error}"
        except Exception as error:
            raise AssertionError(f"{number} {path}") from error
        else:
            assert loaded.keys() == expected.keys(), f"{number} {path}"
            for name, value in loaded.items():
                assert np.isfinite(value).all(), f"{number} {path}: {name}"
                assert value.shape == expected[name]
        assert snapshot(tmp_path) == before
        shutil.rmtree(tmp_path / "set")
    assert num_refused or KINDS[kind] <= 8  # Orbax' names are random
    gc.collect()  # what Orbax left is told here, and not in another test

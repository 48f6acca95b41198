import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import h5py
import huggingface_hub
import keras
import keras_hub
import numpy as np
import pytest

from keras_muse import Muse
from keras_muse import MuseBase
from keras_muse import MuseSuperRes
from keras_muse import VQGANTokenizer
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.muse import preset as muse_preset
from tests.helpers import tiny
from tests.helpers.tiny_muse import shared_muse
from tests.helpers.tiny_muse import tiny_muse

BACKENDS = {"jax", "tensorflow", "torch"}
ROOT = pathlib.Path(__file__).parents[2]
PROMPTS = ["a red apple", "a cat"]
OPTIONS = {
    "negative_prompts": "blue",
    "seed": 3,
    "num_steps": 3,
    "super_res_num_steps": 2,
    "verbose": 0,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A preset that no test changes."""
    directory = tmp_path_factory.mktemp("preset") / "muse"
    shared_muse().save_to_preset(str(directory))
    return str(directory)


@pytest.fixture
def preset(saved, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(saved, tmp_path / "muse")


def read_json(preset, name="muse.json"):
    return json.loads((pathlib.Path(preset) / name).read_text())


def change_json(preset, change, name="muse.json"):
    contents = read_json(preset, name)
    change(contents)
    (preset / name).write_text(json.dumps(contents))


def assert_same_weights(model, other):
    assert type(model) is type(other)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(tiny.to_numpy(a), tiny.to_numpy(b))


# === Round trips ===


def test_a_saved_muse_draws_the_same_pictures(saved):
    images = shared_muse().generate(PROMPTS, **OPTIONS)
    loaded = Muse.from_preset(saved)
    np.testing.assert_array_equal(loaded.generate(PROMPTS, **OPTIONS), images)
    assert loaded.high_res_image_tokenizer is None


def test_the_parts_of_two_tokenizers_stay_apart(tmp_path):
    muse = tiny_muse(two_tokenizers=True)
    muse.save_to_preset(str(tmp_path / "muse"))
    loaded = Muse.from_preset(str(tmp_path / "muse"))
    for name in ("image_tokenizer", "high_res_image_tokenizer", "super_res"):
        assert_same_weights(getattr(loaded, name), getattr(muse, name))


def test_dtype_is_that_of_all_parts(saved):
    dtypes = {}
    for part in muse_preset.load_parts(saved, "mixed_bfloat16").values():
        dtypes[type(part)] = part.compute_dtype
    assert len(dtypes) == 4 and set(dtypes.values()) == {"bfloat16"}


def test_without_a_dtype_it_is_the_global_one(saved, tmp_path):
    parts = muse_preset.load_parts(saved, "mixed_bfloat16", names=["base"])
    muse_preset.save(parts, {}, str(tmp_path / "half"))
    (base,) = muse_preset.load_parts(str(tmp_path / "half")).values()
    assert base.compute_dtype == "float32"


def test_saving_over_an_older_preset_leaves_nothing_of_it(preset):
    (preset / "base" / "model.weights.json").write_text("{}")
    muse = tiny_muse(cascade=False, base=tiny.tiny_base(num_layers=1))
    muse.save_to_preset(str(preset))
    loaded = Muse.from_preset(str(preset))
    assert loaded.super_res is None and loaded.base.num_layers == 1
    assert_same_weights(loaded.base, muse.base)


def test_a_model_saved_over_a_muse_is_the_one_that_is_loaded(preset):
    base = tiny.tiny_base(num_layers=1)
    base.save_to_preset(str(preset))
    assert_same_weights(MuseBase.from_preset(str(preset)), base)
    with pytest.raises(ValueError, match="`MuseBase`, not a `VQGANTokenizer`"):
        VQGANTokenizer.from_preset(str(preset))
    with pytest.raises(ValueError, match="another model was saved over it"):
        Muse.from_preset(str(preset))
    shared_muse().save_to_preset(str(preset))
    assert_same_weights(
        MuseBase.from_preset(str(preset)), Muse.from_preset(str(preset)).base
    )


@pytest.mark.parametrize("wrong", [{"num_step": 0}, {"guidance_scale": -3}])
def test_wrong_defaults_are_not_saved(tmp_path, wrong):
    muse = tiny_muse(cascade=False)
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        muse.generation_defaults = wrong
    muse.generation_defaults.update(wrong)
    with pytest.raises(ValueError, match=name):
        muse.save_to_preset(str(tmp_path / "muse"))
    assert not (tmp_path / "muse").exists()
    muse.generation_defaults = {"num_steps": np.int64(4)}
    muse.save_to_preset(str(tmp_path / "muse"))
    defaults = Muse.from_preset(str(tmp_path / "muse")).generation_defaults
    assert defaults == {"num_steps": 4}


def test_what_compile_attached_is_not_saved(tmp_path):
    muse = tiny_muse(cascade=False)
    muse.image_tokenizer.compile(perceptual="alexnet")
    muse.save_to_preset(str(tmp_path / "muse"))
    sizes = []
    path = tmp_path / "muse/image_tokenizer/model.weights.h5"
    with h5py.File(path) as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    clean = shared_muse().image_tokenizer
    assert sum(sizes) == sum(math.prod(w.shape) for w in clean.weights)


# === The text encoder ===


def test_a_public_text_encoder_is_kept_as_a_reference(tmp_path):
    encoder = TextEncoder.from_preset("all_minilm_l6_v2", sequence_length=7)
    muse = tiny_muse(
        cascade=False, text_encoder=encoder, base=tiny.tiny_base(text_dim=384)
    )
    directory = tmp_path / "muse"
    muse.save_to_preset(str(directory))
    assert read_json(directory)["parts"]["text_encoder"] == {
        "class_name": "MiniLMTextEncoder",
        "preset": "all_minilm_l6_v2",
        "sequence_length": 7,
    }
    assert not (directory / "text_encoder").exists()
    loaded = Muse.from_preset(str(directory)).text_encoder
    assert loaded.sequence_length == 7
    np.testing.assert_array_equal(
        loaded.encode("a cat")[0], encoder.encode("a cat")[0]
    )


def save_with(encoder, directory):
    base = tiny.tiny_base(text_dim=384)
    muse = tiny_muse(cascade=False, text_encoder=encoder, base=base)
    muse.save_to_preset(str(directory))
    return read_json(directory)["parts"]["text_encoder"]


def test_what_was_overridden_in_a_public_text_encoder_is_kept(tmp_path):
    encoder = TextEncoder.from_preset(
        "all_minilm_l6_v2",
        layer_norm_epsilon=0.5,
        num_heads=np.int64(6),
        sequence_length=np.int64(9),
        dtype="float32",
    )
    entry = save_with(encoder, tmp_path / "muse")
    assert entry["options"] == {"layer_norm_epsilon": 0.5, "num_heads": 6}
    assert entry["sequence_length"] == 9
    loaded = Muse.from_preset(str(tmp_path / "muse")).text_encoder
    np.testing.assert_array_equal(
        loaded.encode("a cat")[0], encoder.encode("a cat")[0]
    )
    assert save_with(loaded, tmp_path / "again") == entry


def test_a_public_text_encoder_without_its_weights_is_copied(tmp_path):
    encoder = TextEncoder.from_preset("all_minilm_l6_v2", load_weights=False)
    assert "preset" not in save_with(encoder, tmp_path / "muse")
    loaded = Muse.from_preset(str(tmp_path / "muse")).text_encoder
    np.testing.assert_allclose(
        loaded.encode("a cat")[0], encoder.encode("a cat")[0], atol=1e-6
    )


def load_zeros(encoder, directory):
    other = TextEncoder.from_preset("all_minilm_l6_v2")
    other.weights[0].assign(0 * other.weights[0])
    other.save_weights(directory / "other.weights.h5")
    encoder.load_weights(directory / "other.weights.h5")


def set_ones(encoder, directory):
    encoder.set_weights([np.ones(w.shape) for w in encoder.weights])


def tune(encoder, directory):
    encoder.enable_lora(2)
    for variable in encoder.trainable_variables:
        variable.assign(0.1 + variable)


def train(encoder, directory):
    encoder.trainable = True
    encoder.weights[0].assign(0 * encoder.weights[0])


def assign(encoder, directory):
    encoder.weights[0].assign(0 * encoder.weights[0])
    encoder.preset = None  # as `Muse.save_to_preset` says


@pytest.mark.parametrize("change", [load_zeros, set_ones, tune, train, assign])
def test_a_public_text_encoder_of_other_weights_is_copied(change, tmp_path):
    encoder = TextEncoder.from_preset("all_minilm_l6_v2", sequence_length=7)
    published = encoder.encode("a cat")[0]
    change(encoder, tmp_path)
    changed = encoder.encode("a cat")[0]
    assert np.abs(changed - published).max() > 0.1
    assert "preset" not in save_with(encoder, tmp_path / "muse")
    loaded = Muse.from_preset(str(tmp_path / "muse")).text_encoder
    np.testing.assert_allclose(loaded.encode("a cat")[0], changed, atol=1e-4)


def test_a_text_encoder_of_a_local_directory_is_copied(saved, tmp_path):
    # Others do not have that directory.
    muse = Muse.from_preset(saved)
    assert os.path.isdir(muse.text_encoder.preset)
    muse.save_to_preset(str(tmp_path / "copy"))
    assert (tmp_path / "copy/text_encoder/model.weights.h5").exists()
    assert "preset" not in read_json(tmp_path / "copy")["parts"]["text_encoder"]


# === Nothing is left half written ===


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    muse = shared_muse()
    monkeypatch.setattr(type(muse.super_res), "save_to_preset", fail)
    with pytest.raises(OSError, match="disk full"):
        muse.save_to_preset(str(tmp_path / "muse"))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_keeps_the_older_preset(preset, monkeypatch):
    before = read_json(preset)
    muse = tiny_muse(cascade=False)
    monkeypatch.setattr(
        VQGANTokenizer, "save_to_preset", lambda *args: os.mkdir("/dev/null")
    )
    with pytest.raises(OSError):
        muse.save_to_preset(str(preset))
    assert read_json(preset) == before
    assert [path.name for path in preset.parent.iterdir()] == ["muse"]
    assert Muse.from_preset(str(preset)).super_res is not None


# === What KerasHub does with it ===


def test_keras_hub_uploads_it(saved, monkeypatch):
    uploaded = {}

    def upload_folder(repo_id, folder_path):
        uploaded[repo_id] = sorted(os.listdir(folder_path))
        card = (pathlib.Path(folder_path) / "README.md").read_text()
        assert "Muse" in card

    mock = types.SimpleNamespace(
        create_repo=lambda repo_id, exist_ok: types.SimpleNamespace(
            repo_id=repo_id
        ),
        file_exists=lambda repo_id, filename: False,
        upload_folder=upload_folder,
    )
    monkeypatch.setattr(
        keras_hub.src.utils.preset_utils, "huggingface_hub", mock
    )
    keras_hub.upload_preset("hf://me/muse", saved)
    names = set(uploaded["me/muse"])
    assert {"config.json", "metadata.json", "muse.json"} <= names
    assert {"base", "super_res", "image_tokenizer", "text_encoder"} <= names


def test_the_root_names_the_class_and_its_size(saved):
    config = read_json(saved, "config.json")
    metadata = read_json(saved, "metadata.json")
    muse = shared_muse()
    assert keras.saving.get_registered_object(config["registered_name"]) is Muse
    assert metadata["keras_version"] == keras.version()
    assert metadata["parameter_count"] == sum(
        int(np.prod(weight.shape))
        for part in (
            muse.text_encoder,
            muse.base,
            muse.image_tokenizer,
            muse.super_res,
        )
        for weight in part.weights
    )


def test_keras_hub_reads_the_parts(saved):
    loader = keras_hub.src.utils.preset_utils.get_preset_loader(f"{saved}/base")
    assert loader.check_backbone_class() is MuseBase
    base = loader.load_backbone(MuseBase, load_weights=True)
    assert_same_weights(base, shared_muse().base)


def test_models_are_found_in_the_preset_of_a_muse(saved):
    muse = shared_muse()
    for cls, part in (
        (MuseBase, muse.base),
        (MuseSuperRes, muse.super_res),
        (VQGANTokenizer, muse.image_tokenizer),
    ):
        assert_same_weights(cls.from_preset(saved), part)


def test_a_handle_is_fetched_file_by_file(saved, monkeypatch):
    fetched = []

    def download(repo_id, filename):
        fetched.append(filename)
        path = os.path.join(saved, filename)
        if repo_id != "me/muse" or not os.path.exists(path):
            raise huggingface_hub.errors.EntryNotFoundError(filename)
        return path

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    base = MuseBase.from_preset("hf://me/muse")
    assert_same_weights(base, shared_muse().base)
    assert "base/model.weights.h5" in fetched
    assert not [name for name in fetched if name.startswith("super_res/")]
    assert_same_weights(
        Muse.from_preset("hf://me/muse").super_res, shared_muse().super_res
    )


# === What cannot be loaded ===


def test_not_a_muse(saved, tmp_path):
    with pytest.raises(
        ValueError, match="neither muse.json.*Received: preset="
    ):
        Muse.from_preset(f"{saved}/base")
    with pytest.raises(ValueError, match="Received: preset="):
        Muse.from_preset(str(tmp_path / "nothing"))
    # What `train` leaves has a preset in it, and files beside.
    pathlib.Path(saved, "..", "grid.png").write_bytes(b"")
    above = re.escape(os.path.dirname(saved))
    with pytest.raises(
        ValueError, match=f"preset='{above}', in which .*'{re.escape(saved)}'"
    ):
        Muse.from_preset(os.path.dirname(saved))


def test_a_newer_format(preset):
    change_json(preset, lambda contents: contents.update(format_version=2))
    with pytest.raises(ValueError, match="format_version=2"):
        Muse.from_preset(str(preset))


def test_a_part_of_another_class(preset):
    def change(contents):
        contents["parts"]["base"]["class_name"] = "MuseSuperRes"

    change_json(preset, change)
    with pytest.raises(ValueError, match="'base'.*Received: MuseSuperRes"):
        Muse.from_preset(str(preset))


def test_a_part_with_the_files_of_another(preset):
    shutil.rmtree(preset / "base")
    shutil.copytree(preset / "super_res", preset / "base")
    with pytest.raises(ValueError, match="MuseSuperRes.*MuseBase"):
        Muse.from_preset(str(preset))


@pytest.mark.parametrize("staged", [False, True])
def test_a_part_that_is_not_named(preset, staged):
    change_json(preset, lambda contents: contents["parts"].pop("base"))
    with pytest.raises(ValueError, match=r"`preset` must.*\['base'\]"):
        Muse.from_preset(preset, staged=staged)


def test_an_unknown_part(preset):
    def change(contents):
        contents["parts"]["upscaler"] = contents["parts"]["base"]

    change_json(preset, change)
    with pytest.raises(ValueError, match="upscaler"):
        Muse.from_preset(str(preset))


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json"])
@pytest.mark.parametrize("part", ["base", "image_tokenizer", "text_encoder"])
def test_a_missing_file(preset, part, name):
    os.remove(preset / part / name)
    with pytest.raises(ValueError, match=f"{part}.*{name}|{name}.*{part}"):
        Muse.from_preset(str(preset))


@pytest.mark.parametrize("part", ["super_res", "image_tokenizer"])
def test_weights_that_were_cut_short(preset, part):
    path = preset / part / "model.weights.h5"
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(ValueError, match=f"{part}"):
        Muse.from_preset(str(preset))


def test_parts_that_do_not_fit_each_other(preset):
    shutil.rmtree(preset / "base")
    tiny.tiny_base(grid_size=(2, 2)).save_to_preset(str(preset / "base"))
    with pytest.raises(ValueError, match="`super_res` and `base`.*grid_size"):
        Muse.from_preset(str(preset))


# === Across backends ===

DRAW = """
import sys, json, numpy as np
from keras_muse import Muse
preset, output, prompts, options = sys.argv[1:]
tokens = {}
def callback(stage, step, start, token_ids):
    tokens[stage] = token_ids
images = Muse.from_preset(preset).generate(
    json.loads(prompts), callback=callback, **json.loads(options)
)
np.savez(output, images=images, **tokens)
"""


@pytest.mark.parametrize("backend", sorted(BACKENDS - {keras.config.backend()}))
def test_another_process_and_backend_draw_the_same_tokens(
    backend, saved, tmp_path
):
    tokens = {}

    def callback(stage, step, start, token_ids):
        tokens[stage] = token_ids

    images = shared_muse().generate(PROMPTS, callback=callback, **OPTIONS)
    output = tmp_path / "drawn.npz"
    subprocess.run(
        [
            *(sys.executable, "-c", DRAW, saved, str(output)),
            *(json.dumps(PROMPTS), json.dumps(OPTIONS)),
        ],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=ROOT,
        check=True,
    )
    with np.load(output) as drawn:
        for stage in ("base", "super_res"):
            np.testing.assert_array_equal(drawn[stage], tokens[stage])
        difference = drawn["images"].astype(int) - images
        assert np.abs(difference).max() <= 1

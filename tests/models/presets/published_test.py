"""Which converter reads what others have published."""

import json

import pytest

from keras_muse.models.presets import published

CONVERTERS = ("amused", "diffusers_vq", "bert", "clip", "t5")


def write(folder, **config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def pipeline(folder, **parts):
    index = {"_class_name": "AmusedPipeline", "scheduler": None}
    for name, config in parts.items():
        write(folder / name, **config)
        index[name] = ["library", "Class"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return str(folder)


@pytest.mark.parametrize(
    "config, converter",
    [
        ({"model_type": "bert"}, "bert"),
        ({"model_type": "t5"}, "t5"),
        ({"_class_name": "VQModel"}, "diffusers_vq"),
    ],
)
def test_a_model_is_known_by_what_its_files_say(tmp_path, config, converter):
    preset = write(tmp_path / "a", **config)
    found = published.find(preset, CONVERTERS, "Model")
    assert found.converter.__name__ == f"keras_muse.converters.{converter}"
    assert (found.folder, found.config) == ("", config)
    assert found.place == f"{preset}/config.json"
    assert published.is_read_by(preset, CONVERTERS)
    others = [name for name in CONVERTERS if name != converter]
    assert not published.is_read_by(preset, others)
    with pytest.raises(ValueError, match="`Model` can read.*with"):
        published.find(preset, others, "Model")


def test_a_model_is_found_in_the_folder_of_a_pipeline(tmp_path):
    preset = pipeline(
        tmp_path / "a",
        text_encoder={"model_type": "bert"},
        vqvae={"_class_name": "VQModel"},
    )
    assert published.is_pipeline(preset)
    assert published.find(preset, ["diffusers_vq"], "Model").folder == "vqvae"
    with pytest.raises(ValueError, match="with bert, VQModel"):
        published.find(preset, ["t5"], "Model")


def test_a_pipeline_names_folders_of_its_own(tmp_path):
    write(tmp_path / "b", model_type="bert")
    preset = pipeline(tmp_path / "a", vqvae={"_class_name": "VQModel"})
    (tmp_path / "a/model_index.json").write_text(json.dumps({"../b": ["x"]}))
    with pytest.raises(ValueError, match="model_index.json"):
        published.find(preset, CONVERTERS, "Model")


def test_presets_of_this_package_are_none_of_others(tmp_path):
    name = "keras_muse>MuseBase"
    preset = write(tmp_path / "a", registered_name=name, model_type="bert")
    assert published.is_own(preset)
    assert published.find(preset, CONVERTERS, "Model") is None
    over = pipeline(tmp_path / "d", vae={"_class_name": "VQModel"})
    write(tmp_path / "d", registered_name="keras_muse>Muse")
    assert published.is_own(over) and not published.is_pipeline(over)
    other = write(tmp_path / "b", registered_name="keras_hub>T5Backbone")
    assert not published.is_own(other)
    assert not published.is_own(pipeline(tmp_path / "c", vae={}))

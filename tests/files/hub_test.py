import pytest
from keras_hub.src.utils import preset_utils

from keras_muse.files import hub


def test_the_names_are_those_of_keras_hub():
    assert hub.CONFIG_FILE == preset_utils.CONFIG_FILE
    assert hub.METADATA_FILE == preset_utils.METADATA_FILE
    assert hub.WEIGHTS_FILE == preset_utils.MODEL_WEIGHTS_FILE
    index = preset_utils.SHARDED_MODEL_WEIGHTS_CONFIG_FILE
    assert hub.WEIGHTS_INDEX_FILE == index
    assert hub.SAFETENSORS_FILE == preset_utils.SAFETENSOR_FILE
    index = f"{hub.SAFETENSORS_FILE}.index.json"
    assert index == preset_utils.SAFETENSOR_CONFIG_FILE
    assert hub.TOKENIZER_DIRECTORY == preset_utils.TOKENIZER_ASSET_DIR


def test_a_file_that_is_there(tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1}')
    preset = str(tmp_path)
    assert hub.has_file(preset, "config.json")
    assert not hub.has_file(preset, "muse.json")
    assert hub.read_json(preset) == {"a": 1}


@pytest.mark.parametrize(
    "contents", [b"{", b"", b"[1]", b'"a"', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_json_object_names_the_file(contents, tmp_path):
    (tmp_path / "config.json").write_bytes(contents)
    with pytest.raises(ValueError, match="`config.json` of `preset`.*Received"):
        hub.read_json(str(tmp_path))

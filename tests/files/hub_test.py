import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.errors import LocalEntryNotFoundError
from keras_hub.src.utils import preset_utils

import keras_muse
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


def failing(monkeypatch, error, cached=False):
    """A hub that answers with an error; whether it was once fetched from."""
    asked = []

    def download(repo_id, filename):
        asked.append(filename)
        raise error

    def snapshot(repo_id, local_files_only):
        assert local_files_only
        if not cached:
            raise LocalEntryNotFoundError("nothing")
        return "a directory"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no connection"), ConnectionError("down")]
)
@pytest.mark.parametrize(
    "cls", [keras_muse.Muse, keras_muse.MuseBase, keras_muse.T5TextEncoder]
)
def test_a_hub_that_cannot_be_reached_is_asked_once(cls, error, monkeypatch):
    asked = failing(monkeypatch, error)
    with pytest.raises(ValueError, match="network.*Received: preset='hf://"):
        cls.from_preset("hf://amused/amused-256")
    assert len(asked) == 1


def test_without_network_a_fetched_preset_lacks_what_it_lacks(monkeypatch):
    failing(monkeypatch, LocalEntryNotFoundError("no connection"), cached=True)
    assert not hub.has_file("hf://me/muse", "muse.json")


def test_a_hub_may_lack_a_file(monkeypatch):
    failing(monkeypatch, EntryNotFoundError("absent"))
    assert not hub.has_file("hf://me/muse", "muse.json")
    with pytest.raises(ValueError, match="has no config.json; .*local paths"):
        keras_muse.MuseBase.from_preset("hf://me/muse")

import itertools
import os
import shutil
import subprocess
import sys

import pytest

from keras_muse.data import read_token_shards
from keras_muse.data.token_shards.files import ShardFiles
from tests.helpers.full_disk import full_disk
from tests.helpers.token_shards import PixelTokenizer
from tests.helpers.token_shards import WordEncoder
from tests.helpers.token_shards import hashes
from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import picture
from tests.helpers.token_shards import picture_folder
from tests.helpers.token_shards import stop_after
from tests.helpers.token_shards import write


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_may_be_stopped_anywhere(tmp_path, monkeypatch, overwrite):
    """Before each of the steps by which files get their names, or go."""
    pairs = picture_folder(tmp_path / "pictures", 5)
    directory, whole = str(tmp_path / "tokens"), str(tmp_path / "whole")
    options = {"rows_per_shard": 2, "overwrite": overwrite}
    if overwrite:
        write(make_rows(7), directory, rows_per_shard=1)
    write(pairs, whole, **options)

    class Stopped(BaseException):
        pass

    num_stops = 0
    while True:
        counter = itertools.count()

        def stopping(function, counter=counter):
            def call(*args, **kwargs):
                if next(counter) == num_stops:  # noqa: B023
                    raise Stopped
                return function(*args, **kwargs)

            return call

        try:
            with monkeypatch.context() as patch:
                for module, name in (
                    (os, "replace"),
                    (os, "remove"),
                    (shutil, "rmtree"),
                ):
                    patch.setattr(module, name, stopping(getattr(module, name)))
                write(pairs, directory, **options)
            break
        except Stopped:
            num_stops += 1
    assert num_stops > 3
    assert hashes(directory) == hashes(whole)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("seed", 1),
        ("num_views", 2),
        ("rows_per_shard", 2),
        ("batch_size", 2),
        ("store", "text_ids"),
        ("tokenizer", PixelTokenizer(codebook_seed=1)),
        ("text_encoder", WordEncoder(factor=2.0)),
        ("collection", None),
    ],
)
def test_unfinished_shards_of_another_run_are_refused(
    tmp_path, argument, value
):
    pairs = picture_folder(tmp_path / "pictures", 9)
    directory = str(tmp_path / "tokens")
    stop_after(4, pairs, directory)
    other, options = pairs, {argument: value}
    if argument == "collection":
        other, options = pairs.select(range(8)), {}
    before = hashes(os.path.join(directory, ".partial"))
    with pytest.raises(ValueError, match=f"`directory`.*another .*{argument}"):
        write(other, directory, **options)
    assert hashes(os.path.join(directory, ".partial")) == before

    write(other, directory, **options, overwrite=True)
    whole = str(tmp_path / "whole")
    write(other, whole, **options)
    assert hashes(directory) == hashes(whole)


def test_settings_without_a_shard_may_be_corrected(tmp_path):
    """Nothing is lost, so nothing is refused."""
    with pytest.raises(ValueError, match="image_size=None"):
        write([make_rows()[0], {"image": picture(0, 16), "text": "large"}],
              str(tmp_path))  # fmt: skip
    write(make_rows(), str(tmp_path), image_size=8)
    assert len(os.listdir(tmp_path)) == 4


def test_a_finished_run_of_a_collection_is_not_repeated(tmp_path):
    pairs = picture_folder(tmp_path / "pictures", 5)
    directory = str(tmp_path / "tokens")
    report = write(pairs, directory)
    before, tokenizer = hashes(directory), PixelTokenizer()
    assert write(pairs, directory, tokenizer=tokenizer) == report
    assert (tokenizer.shapes, hashes(directory)) == ([], before)
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(pairs, directory, seed=1)
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(pairs.select(range(4)), directory)


def test_what_killed_runs_left_is_removed(tmp_path):
    script = (
        "import os, sys\n"
        "from tests.helpers.token_shards import make_rows, write\n"
        "def rows():\n"
        "    yield from make_rows(9)\n"
        "    os._exit(9)\n"
        "write(rows(), sys.argv[1])\n"
    )
    directory = str(tmp_path)
    killed = subprocess.run([sys.executable, "-c", script, directory])
    assert killed.returncode == 9
    assert os.listdir(directory) != []
    with pytest.raises(ValueError, match="no finished token shards"):
        read_token_shards(directory, 5)
    write(make_rows(2), directory, overwrite=True)
    assert sorted(os.listdir(directory)) == [
        "metadata.json",
        "tokens-00000-of-00001.array_record",
    ]


def test_finished_shards_are_replaced_only_when_asked_to(shards):
    with pytest.raises(ValueError, match="`overwrite=True`"):
        write(make_rows(3), shards)
    with pytest.raises(ValueError, match="`pairs` has no row"):
        write([], shards, overwrite=True)
    assert read_token_shards(shards, 5).num_records == 10
    write(make_rows(3), shards, overwrite=True)
    assert read_token_shards(shards, 3).num_records == 3
    assert len(os.listdir(shards)) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_writer_is_refused_and_disturbs_no_first(tmp_path, overwrite):
    pairs = picture_folder(tmp_path / "pictures", 9)
    directory, whole = str(tmp_path / "tokens"), str(tmp_path / "whole")

    class Interrupted(PixelTokenizer):
        def encode(self, images, batch_size):
            with pytest.raises(ValueError, match="being written by another"):
                write(pairs, directory, overwrite=overwrite)
            return super().encode(images, batch_size)

    write(pairs, directory, tokenizer=Interrupted())
    write(pairs, whole)
    assert hashes(directory) == hashes(whole)


def test_on_a_full_disk_the_shard_is_named_and_nothing_stays(tmp_path):
    directory = tmp_path / "tokens"
    files = ShardFiles(str(directory), {"collection": None})
    files.start(overwrite=False)
    records = [os.urandom(5000) for _ in range(40)]
    with full_disk(20000), pytest.raises(OSError, match="00002.array_record.*"):
        files.write(2, records, dict)
    assert os.listdir(directory / ".partial") == ["settings.json"]
    assert files.note(2) is None
    # With room again, the same run goes on.
    files.write(2, records, dict)
    assert files.note(2)["num_records"] == 40


def test_an_error_of_what_is_written_is_told_as_it_is(tmp_path):
    files = ShardFiles(str(tmp_path), {"collection": None})
    files.start(overwrite=False)

    def records():
        yield b"first"
        raise RuntimeError("of the encoder")

    with pytest.raises(RuntimeError, match="of the encoder"):
        files.write(0, records(), dict)
    assert os.listdir(tmp_path / ".partial") == ["settings.json"]

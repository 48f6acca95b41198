"""Every source form is read, and what is unusable is skipped and named."""

import io
import json
import os
import subprocess
import sys
import tarfile
import types
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_muse.data import load_image_text
from keras_muse.data.sources import containers

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def png(color, size=(12, 8)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def color_files():
    """A metadata.jsonl folder as `{name: content}`."""
    files = {f"{name}.png": png(color) for name, color in COLORS.items()}
    records = [
        {"file_name": f"{name}.png", "text": f"a {name} wall", "hue": name}
        for name in COLORS
    ]
    lines = "\n".join(map(json.dumps, records))
    return {**files, "metadata.jsonl": lines.encode()}


def write_folder(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def check_colors(pairs):
    """Pictures and captions belong together, whatever the source."""
    assert pairs.num_examples == len(COLORS)
    images, texts = pairs.as_arrays()
    assert images.dtype == np.uint8
    assert images.shape == (3, 8, 8, 3)
    for image, text in zip(images, texts, strict=True):
        name = next(name for name in COLORS if name in text)
        np.testing.assert_array_equal(image[4, 4], COLORS[name])
    assert sorted(texts) == sorted(f"a {name} wall" for name in COLORS)


def test_folder_with_metadata(tmp_path):
    write_folder(tmp_path, color_files())
    pairs = load_image_text(tmp_path, image_size=8)
    check_colors(pairs)
    assert [row["hue"] for row in pairs.rows] == list(COLORS)
    assert pairs.report["counts"] == {}


def test_folder_with_splits(tmp_path):
    write_folder(tmp_path / "train", color_files())
    write_folder(
        tmp_path / "test",
        {
            "a.png": png("white"),
            "metadata.jsonl": b'{"file_name": "a.png", "text": "white"}',
        },
    )
    check_colors(load_image_text(tmp_path, image_size=8, split="train"))
    assert load_image_text(tmp_path, split="test").texts == ["white"]
    there = r"`split`.*there are \['test', 'train'\].*split='validation'"
    with pytest.raises(ValueError, match=there):
        load_image_text(tmp_path, split="validation")


def test_where_there_are_no_splits_none_can_be_chosen(tmp_path):
    write_folder(tmp_path, color_files())
    with pytest.raises(ValueError, match="`split`.*are none.*split='train'"):
        load_image_text(tmp_path, split="train")


def test_folder_with_sidecars(tmp_path):
    files = {f"{n}.png": png(color) for n, color in COLORS.items()}
    files |= {f"{n}.txt": f"a {n} wall\nsecond\n".encode() for n in COLORS}
    write_folder(tmp_path, files)
    pairs = load_image_text(tmp_path, image_size=8)
    check_colors(pairs)
    assert pairs.rows[0]["texts"] == ["a blue wall", "second"]
    rows = list(pairs.iterate_rows(all_captions=True))
    assert [row["text"] for row in rows[:2]] == ["a blue wall", "second"]
    np.testing.assert_array_equal(rows[0]["image"], rows[1]["image"])


@pytest.mark.parametrize("ending, comma", [("csv", ","), ("tsv", "\t")])
def test_table_with_several_captions(tmp_path, ending, comma):
    write_folder(tmp_path, {f"p/{n}.png": png(c) for n, c in COLORS.items()})
    lines = [f"image{comma}caption"]
    lines += [f"p/{name}.png{comma}a {name} wall" for name in COLORS]
    lines += [f"p/red.png{comma}rouge"]
    table = tmp_path / f"pairs.{ending}"
    table.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    pairs = load_image_text(table, image_size=8)
    check_colors(pairs)
    assert pairs.rows[0]["texts"] == ["a red wall", "rouge"]


def test_table_without_captions_column(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("image,label\na.png,3\n")
    with pytest.raises(ValueError, match="'label'"):
        load_image_text(table)


def test_tar_shards_by_pattern(tmp_path):
    for index, (name, color) in enumerate(COLORS.items()):
        caption = {"json": b'{"caption": "a %s wall"}', "txt": b"a %s wall"}
        ending = "json" if index else "txt"
        write_tar(
            tmp_path / f"shard-{index:04d}.tar",
            {
                f"0000{index}.png": png(color),
                f"0000{index}.{ending}": caption[ending] % name.encode(),
            },
        )
    for pattern in ("shard-{0000..0002}.tar", "shard-*.tar", ""):
        check_colors(load_image_text(tmp_path / pattern, image_size=8))
    with pytest.raises(ValueError, match="shard-0003.tar"):
        load_image_text(tmp_path / "shard-{0000..0003}.tar")


def test_tar_and_zip_with_metadata(tmp_path):
    files = color_files()
    check_colors(
        load_image_text(write_tar(tmp_path / "a.tar", files), image_size=8)
    )
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"sub/{name}", content)
    check_colors(load_image_text(tmp_path / "a.zip", image_size=8))


def test_archive_names_never_become_paths(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    inner = tmp_path / "inner"
    inner.mkdir()
    with tarfile.open(inner / "a.tar", "w") as archive:
        for name in ("../outside.png", "../outside.txt"):
            member = tarfile.TarInfo(name)
            content = png("red") if name.endswith("png") else b"red"
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        archive.addfile(tarfile.TarInfo("b.png"), io.BytesIO())
        link = tarfile.TarInfo("b.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.warns(UserWarning, match="skipped"):
        pairs = load_image_text(inner / "a.tar")
    assert pairs.texts == ["red"]
    assert pairs.report["skipped"] == {"no caption": ["b.png"]}
    assert sorted(os.listdir(tmp_path)) == ["inner", "secret.txt"]


def test_truncated_tar_is_reported(tmp_path):
    files = {}
    for name, color in COLORS.items():
        files |= {f"{name}.txt": name.encode(), f"{name}.png": png(color)}
    path = write_tar(tmp_path / "a.tar", files)
    # The last picture's header is kept, its content and the end are not.
    path.write_bytes(path.read_bytes()[: 512 * 11 + 10])
    with pytest.warns(UserWarning, match="skipped"):
        pairs = load_image_text(path)
    assert pairs.texts == ["red", "green"]
    skipped = pairs.report["skipped"]
    assert "blue.png" in sum(skipped.values(), [])


def test_report_names_everything_unusable(tmp_path):
    records = [
        {"file_name": "good.png", "text": ["  ", "one", "two"]},
        {"file_name": "empty.png", "text": "  "},
        {"file_name": "none.png"},
        {"file_name": "missing.png", "text": "missing"},
        {"file_name": "broken.png", "text": "broken"},
        {"text": "of nothing"},
    ]
    lines = [json.dumps(record) for record in records] + ["not json"]
    pictures = {f"{n}.png": png("red") for n in ("good", "empty", "none")}
    pictures |= {"broken.png": b"no picture", "unlisted.png": png("red")}
    write_folder(
        tmp_path, {**pictures, "metadata.jsonl": "\n".join(lines).encode()}
    )
    with pytest.warns(UserWarning, match="7 of 8 entries"):
        pairs = load_image_text(tmp_path)
    report = pairs.report
    assert pairs.rows[0]["texts"] == ["one", "two"]
    assert report["num_examples"] == 1
    assert report["skipped"] == {
        "unreadable line": ["metadata.jsonl line 6", "metadata.jsonl line 7"],
        "empty caption": ["empty.png", "none.png"],
        "missing picture": ["missing.png"],
        "broken picture": ["broken.png"],
        "no caption": ["unlisted.png"],
    }
    assert sum(report["counts"].values()) == 7


def test_nothing_usable(tmp_path):
    with pytest.raises(ValueError, match="`path` holds no picture"):
        load_image_text(tmp_path)
    with pytest.raises(ValueError, match="not there"):
        load_image_text(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="`path` must be a folder"):
        load_image_text(tmp_path / "nothing")
    with pytest.raises(ValueError, match="`verify`"):
        load_image_text(tmp_path, verify="all")


def write_cut_and_good(directory):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")
    Image.fromarray(noise).save(directory / "cut.png")
    content = (directory / "cut.png").read_bytes()
    (directory / "cut.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(noise).save(directory / "good.png")
    for name in ("cut", "good"):
        (directory / f"{name}.txt").write_text(name)


def test_a_forked_process_opens_a_zip_anew(tmp_path, monkeypatch):
    """It would share the place in the file with the others."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    files = []
    open_member = zipfile.ZipFile.open

    def record(archive, name):
        files.append(archive.fp)
        return open_member(archive, name)

    monkeypatch.setattr(zipfile.ZipFile, "open", record)
    path = str(tmp_path / "a.zip")
    for process in (1, 1, 2):
        monkeypatch.setattr(os, "getpid", lambda: process)  # noqa: B023
        assert containers.read_member(path, "a.txt", 9) == b"a"
    assert files[0] is files[1] and files[0] is not files[2]


@pytest.mark.parametrize("text", [5, float("nan"), ["good", 5], {"a": "b"}])
def test_a_caption_that_is_no_text_is_reported(tmp_path, text):
    records = [
        {"file_name": "good.png", "text": ["one", None]},
        {"file_name": "odd.png", "text": text},
    ]
    lines = "\n".join(json.dumps(record) for record in records)
    pictures = {name: png("red") for name in ("good.png", "odd.png")}
    write_folder(tmp_path, {**pictures, "metadata.jsonl": lines.encode()})
    with pytest.warns(UserWarning):
        pairs = load_image_text(tmp_path)
    assert pairs.rows[0]["texts"] == ["one"]
    reason = "empty caption" if isinstance(text, dict) else "unreadable caption"
    assert pairs.report["skipped"] == {reason: ["odd.png"]}


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_separator_inside_a_caption_ends_no_line(tmp_path, separator):
    text = f"one{separator}two"
    record = {"file_name": "a.png", "text": text}
    line = json.dumps(record, ensure_ascii=False)
    files = {"a.png": png("red"), "metadata.jsonl": f"{line}\r\n".encode()}
    write_folder(tmp_path / "table", files)
    files = {"a.png": png("red"), "a.txt": f"{text}\r\nthree".encode()}
    write_folder(tmp_path / "sidecars", files)
    for name, texts in (("table", [text]), ("sidecars", [text, "three"])):
        assert load_image_text(tmp_path / name).rows[0]["texts"] == texts


def test_an_odd_caption_of_tfds_is_reported(monkeypatch):
    records = [{"image": png("red"), "text": text} for text in (b"good", 5)]
    tfds = types.SimpleNamespace(
        data_source=lambda *args, **kwargs: records,
        decode=types.SimpleNamespace(SkipDecoding=object),
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
    with pytest.warns(UserWarning):
        pairs = load_image_text("tfds:fake", split="train")
    assert pairs.texts == ["good"]
    skipped = {"unreadable caption": ["fake/train/1"]}
    assert pairs.report["skipped"] == skipped


def test_readable_rows(tmp_path):
    write_cut_and_good(tmp_path)
    pairs = load_image_text(tmp_path)
    with pytest.warns(UserWarning, match="cut.png"):
        readable = pairs.readable()
    assert readable.texts == ["good"]
    assert readable.report["skipped"] == {"broken picture": ["cut.png"]}
    (tmp_path / "good.png").write_bytes((tmp_path / "cut.png").read_bytes())
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="None of the .*2 pictures.*good.png"),
    ):
        load_image_text(tmp_path).readable()


def test_verify_decode_finds_truncated_pictures(tmp_path):
    write_cut_and_good(tmp_path)
    with pytest.warns(UserWarning):
        pairs = load_image_text(tmp_path, verify="decode")
    assert pairs.texts == ["good"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image_text(tmp_path).num_examples == 2


def test_decompression_bomb_is_a_broken_picture(tmp_path, monkeypatch):
    write_folder(tmp_path, color_files())
    (tmp_path / "red.png").write_bytes(png("red", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(UserWarning):
        pairs = load_image_text(tmp_path)
    assert pairs.report["skipped"] == {"broken picture": ["red.png"]}


TFDS_BUILDER = f"""
import sys
import numpy as np
import tensorflow_datasets as tfds

class TinyCaptions(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        captions = tfds.features.Sequence({{"text": tfds.features.Text()}})
        image = tfds.features.Image(shape=(None, None, 3))
        features = {{"image": image, "captions": captions}}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {{"train": self._generate_examples()}}

    def _generate_examples(self):
        for name, color in {COLORS!r}.items():
            image = np.zeros((8, 12, 3), "uint8") + np.array(color, "uint8")
            texts = [{{"text": "a " + name + " wall"}}, {{"text": "more"}}]
            yield name, {{"image": image, "captions": texts}}

builder = TinyCaptions(data_dir=sys.argv[1], file_format="array_record")
builder.download_and_prepare()
"""


def test_tfds_of_a_real_builder(tmp_path, monkeypatch):
    """A dataset is built, stored as array records, and read back."""
    script = tmp_path / "build.py"
    script.write_text(TFDS_BUILDER)
    subprocess.run([sys.executable, script, tmp_path / "data"], check=True)
    import tensorflow_datasets as tfds

    (folder,) = tmp_path.glob("data/*/1.0.0")
    builder = tfds.builder_from_directory(folder)

    def data_source(name, **kwargs):
        # By name TFDS finds only what is published or imported.
        assert name == "tiny_captions"
        return builder.as_data_source(**kwargs)

    monkeypatch.setattr(tfds, "data_source", data_source)
    pairs = load_image_text("tfds:tiny_captions", image_size=8)
    check_colors(pairs)
    assert pairs.rows[0]["texts"][1] == "more"

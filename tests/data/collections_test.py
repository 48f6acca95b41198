"""Every row of a collection is a picture with its captions, or reported."""

import contextlib
import csv
import io
import json
import os
import pathlib
import socket
import stat
import struct
import tarfile
import tempfile
import threading
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from keras_muse.data import load_image_text
from keras_muse.data.image_text_dataset import ImageTextDataset
from keras_muse.data.sources import Row
from keras_muse.data.sources import containers
from keras_muse.data.sources import find_rows


def encoded(color="red", size=(8, 6), kind="png", **options):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


PICTURE = encoded()
quiet = pytest.mark.filterwarnings("ignore:.*were skipped")
pytestmark = quiet


def loaded(path, **options):
    """Captions by the name of the picture, and reasons by name."""
    rows = find_rows(path)
    try:
        pairs = load_image_text(path, **options)
    except ValueError as error:
        assert "holds no picture" in str(error)
        reasons = {row.name: row.problem for row in rows}
        return {}, reasons
    captions = {row["name"]: row["texts"] for row in pairs.rows}
    reasons = {
        name: reason
        for reason, names in pairs.report["skipped"].items()
        for name in names
    }
    return captions, reasons


def write(folder, files):
    for name, content in files.items():
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# === Collections that are drawn ===

# Any letters, quotation marks and separators among them, but no halves of
# pairs, which no file can hold.
texts = st.text(
    st.one_of(
        st.sampled_from(list("\"',;\t\n\\ab .")),
        st.characters(codec="utf-8"),
    ),
    max_size=20,
)
endings = st.sampled_from(
    [".png", ".PNG", ".jpg", ".JPEG", ".jfif", ".jpe", ".webp", ".bmp", ".ppm"]
)


@st.composite
def collections(draw):
    """Files of pictures and captions, and what each picture is to become.

    Returns:
        `(pictures, captions, expected)`: contents by name, captions by name,
        and by name what is expected: a list of texts, or `None` for a line of
        the report.
    """
    pictures, captions, expected = {}, {}, {}
    for i in range(draw(st.integers(1, 6))):
        folder = draw(st.sampled_from(["", "sub/", "./"]))
        name = f"{folder}p{i}{draw(endings)}"
        text = draw(texts)
        pictures[name] = draw(st.sampled_from([PICTURE] * 3 + [b"", b"\x89PN"]))
        captions[name] = text
        good = pictures[name] == PICTURE and text.strip()
        expected[name.removeprefix("./")] = text if good else None
    return pictures, captions, expected


def lines_of(text):
    return [line for line in io_lines(text) if line]


def io_lines(text):
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in text.split("\n")]


def check(path, expected, captions_of=lines_of):
    """Each picture is there once, with its captions, or is reported once."""
    captions, reasons = loaded(path)
    assert not set(captions) & set(reasons)
    for name, text in expected.items():
        if text is None:
            assert name in reasons and name not in captions
        else:
            assert captions[name] == captions_of(text), name
    assert set(captions) | set(reasons) == set(expected)


drawn = hypothesis.settings(max_examples=60, deadline=None)


@drawn
@hypothesis.given(collections(), st.sampled_from([".txt", ".TXT", ".caption"]))
def test_sidecars_in_folders_tars_and_zips(collection, ending):
    pictures, captions, expected = collection
    files = dict(pictures)
    for name, text in captions.items():
        files[os.path.splitext(name)[0] + ending] = text.encode()
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/loose", files)
        check(f"{folder}/loose", expected)
        write_tar(f"{folder}/all.tar", files)
        check(f"{folder}/all.tar", expected)
        with zipfile.ZipFile(f"{folder}/all.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        check(f"{folder}/all.zip", expected)


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def one_caption(text):
    return [text.replace("\r\n", "\n").strip()]


@drawn
@hypothesis.given(collections(), st.sampled_from([",", "\t"]))
def test_tables_as_programs_write_them(collection, delimiter):
    pictures, captions, expected = collection
    with tempfile.TemporaryDirectory() as folder:
        write(folder, pictures)
        kind = "tsv" if delimiter == "\t" else "csv"
        with open(f"{folder}/all.{kind}", "w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["file_name", "text"])
            writer.writerows(captions.items())
        check(f"{folder}/all.{kind}", expected, one_caption)


@drawn
@hypothesis.given(collections())
def test_json_lines(collection):
    pictures, captions, expected = collection
    records = [{"file_name": n, "text": t} for n, t in captions.items()]
    table = "\n".join(map(json.dumps, records)).encode()
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/loose", {**pictures, "metadata.jsonl": table})
        check(f"{folder}/loose", expected, lambda text: [text.strip()])
        write_tar(f"{folder}/all.tar", {**pictures, "metadata.jsonl": table})
        check(f"{folder}/all.tar", expected, lambda text: [text.strip()])


@drawn
@hypothesis.given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    *('x.png,"open', 'x.png,a "quoted" word', 'x.png,"a"b'),
                    *("x.png,a dog, running", '"x.png', "", "x.png", ","),
                    *('"""', 'x.png,""', "x.png,\xe9\x00"),
                ]
            ),
            texts.map(lambda text: f"y.png,{text}"),
        ),
        max_size=5,
    ),
    st.sampled_from([b"caf\xe9.png,x", b"\xff\xfe", b""]),
)
def test_a_line_of_a_table_takes_no_other_with_it(lines, odd):
    """Whatever stands between them, whole lines are read."""
    content = ["file_name,text", "first.png,the first"]
    content += [line.replace("\n", " ") for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        table = "\n".join(content).encode() + b"\n" + odd
        write(
            folder,
            {
                "t.csv": table + b"\nlast.png,the last\n",
                **{f"{name}.png": PICTURE for name in ("first", "last", "x")},
            },
        )
        captions, _ = loaded(f"{folder}/t.csv")
    assert captions["first.png"] == ["the first"]
    assert captions["last.png"] == ["the last"]


# === Tables ===


@pytest.mark.parametrize(
    "line, caption",
    [
        ('a.png,"open', '"open'),
        ('a.png,"Hello, he said', None),  # three cells for two columns
        ("a.png,a dog, running", None),
        ('a.png,"a dog, running"', "a dog, running"),
        ('a.png,"a ""good"" dog"', 'a "good" dog'),
        ('a.png,a "good" dog', 'a "good" dog'),
        ('a.png,"two\nlines"', "two\nlines"),
        ('a.png,"two\n\nlines, or three"', "two\n\nlines, or three"),
        ("a.png," + 200_000 * "x", 200_000 * "x"),
    ],
)
def test_cells(tmp_path, line, caption):
    table = f"file_name,text\n{line}\nb.png,other\n"
    write(tmp_path, {"t.csv": table.encode()})
    write(tmp_path, {"a.png": PICTURE, "b.png": PICTURE})
    captions, reasons = loaded(tmp_path / "t.csv")
    assert captions["b.png"] == ["other"]
    if caption is None:
        assert reasons == {"t.csv line 1": "unreadable line"}
    else:
        assert captions["a.png"] == [caption] and not reasons


def test_a_quotation_mark_that_opens_a_caption_of_a_tsv(tmp_path):
    table = 'file_name\ttext\na.png\t"Hello, he said\nb.png\t"Bye", she said'
    write(tmp_path, {"t.tsv": table.encode()})
    write(tmp_path, {"a.png": PICTURE, "b.png": PICTURE})
    captions, reasons = loaded(tmp_path / "t.tsv")
    assert captions["a.png"] == ['"Hello, he said'] and not reasons
    assert captions["b.png"] == ['"Bye", she said']


@pytest.mark.parametrize("name", ["t.csv", "folder/metadata.jsonl"])
def test_a_line_that_is_no_text_is_reported(tmp_path, name):
    lines = {
        "t.csv": b"file_name,text\na.png,caf\xe9\nb.png,other\n",
        "folder/metadata.jsonl": b'{"file_name": "a.png", "text": "caf\xe9"}\n'
        b'{"file_name": "b.png", "text": "other"}',
    }
    write(tmp_path, {name: lines[name]})
    folder = (tmp_path / name).parent
    write(folder, {"a.png": PICTURE, "b.png": PICTURE})
    path = tmp_path / name if name.endswith("csv") else folder
    captions, reasons = loaded(path)
    assert list(captions) == ["b.png"]
    assert "unreadable line" in reasons.values()


def test_the_first_line_alone_has_the_names(tmp_path):
    write(tmp_path, {"t.csv": b"file_name,text\na.png\nb.png,other\n"})
    write(tmp_path, {"a.png": PICTURE, "b.png": PICTURE})
    captions, reasons = loaded(tmp_path / "t.csv")
    assert captions == {"b.png": ["other"]}
    assert reasons == {"a.png": "empty caption"}
    write(tmp_path, {"t.csv": b"file_name,text\n"})
    assert loaded(tmp_path / "t.csv") == ({}, {})


def test_two_columns_of_one_name(tmp_path):
    table = b"file_name,text,text\na.png,one,two\n"
    write(tmp_path, {"t.csv": table, "f/metadata.csv": table})
    with pytest.raises(ValueError, match="t.csv.* two columns .*'text'"):
        load_image_text(tmp_path / "t.csv")
    assert loaded(tmp_path / "f") == ({}, {"metadata.csv": "unreadable table"})


def test_a_picture_that_several_tables_name_is_one_row(tmp_path):
    write(
        tmp_path,
        {
            "a.png": PICTURE,
            "metadata.csv": b"file_name,text\na.png,one\n./a.png,two\n",
            "metadata.jsonl": b'{"file_name": "a.png", "text": "three"}',
        },
    )
    pairs = load_image_text(tmp_path)
    assert pairs.rows[0]["texts"] == ["one", "two", "three"]
    assert pairs.num_examples == 1


def test_a_line_that_is_too_long_is_reported(tmp_path):
    table = b"file_name,text\na.png," + 300 * b"x" + b"\nb.png,other"
    write(tmp_path, {"t.csv": table, "a.png": PICTURE, "b.png": PICTURE})
    captions, reasons = loaded(tmp_path / "t.csv", max_line_bytes=200)
    assert list(captions) == ["b.png"]
    assert list(reasons.values()) == ["unreadable line"]


@pytest.mark.parametrize("text", ['"\\ud83d"', '["ok", "\\ude00"]'])
def test_half_an_emoji_is_no_caption(tmp_path, text):
    table = f'{{"file_name": "a.png", "text": {text}}}\n'
    table += '{"file_name": "b.png", "text": "other"}'
    write(tmp_path, {"metadata.jsonl": table.encode()})
    write(tmp_path, {"a.png": PICTURE, "b.png": PICTURE})
    captions, reasons = loaded(tmp_path)
    assert list(captions) == ["b.png"]
    assert reasons["a.png"] == "unreadable caption"


@pytest.mark.parametrize(
    "content", [b"[1]", b'"a"', b"3", b"{", b"\xff", b"[" * 50_000]
)
def test_an_odd_caption_stops_nothing(tmp_path, content):
    write(tmp_path, {"a.png": PICTURE, "a.json": content})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"other"})
    captions, reasons = loaded(tmp_path)
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "unreadable caption"}


# === Folders ===


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path / "real", {"sub/a.png": PICTURE, "sub/a.txt": b"one"})
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/sub/circle").symlink_to(tmp_path / "real")
    (tmp_path / "top/gone.png").symlink_to(tmp_path / "nowhere.png")
    captions, reasons = loaded(tmp_path / "top")
    assert captions == {"link/sub/a.png": ["one"]}
    assert reasons == {"gone.png": "missing file"}


def test_what_is_there_and_behind_a_link_keeps_its_own_name(tmp_path):
    write(tmp_path, {"z/sub/a.png": PICTURE, "z/sub/a.txt": b"one"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to(tmp_path / "z")
    (tmp_path / "link").symlink_to(tmp_path / "z/sub")
    assert loaded(tmp_path) == ({"z/sub/a.png": ["one"]}, {})


def test_a_table_behind_a_link(tmp_path):
    write(tmp_path, {"tables/m.jsonl": b'{"file_name": "a.png", "text": "x"}'})
    write(tmp_path / "top", {"a.png": PICTURE})
    (tmp_path / "top/metadata.jsonl").symlink_to(tmp_path / "tables/m.jsonl")
    assert loaded(tmp_path / "top") == ({"a.png": ["x"]}, {})
    (tmp_path / "tables/m.jsonl").unlink()
    captions, reasons = loaded(tmp_path / "top")
    assert captions == {}
    assert reasons["metadata.jsonl"] == "missing file"


def test_what_is_no_plain_file_is_not_opened(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one", "b.txt": b"two"})
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    write(tmp_path, {"c.txt": b"three", "d.png": PICTURE})
    os.mkfifo(tmp_path / "d.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "e.png"))
        captions, reasons = loaded(tmp_path)
    assert captions == {"a.png": ["one"]}
    for name in ("b.png", "c.png", "e.png"):
        assert reasons[name] == "no plain file"
    assert reasons["d.png"] == "no caption"


def test_a_table_that_never_ends(tmp_path):
    (tmp_path / "t.csv").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="no plain file"):
        load_image_text(tmp_path / "t.csv")


def test_what_systems_leave_beside_pictures_is_none(tmp_path):
    write(
        tmp_path,
        {
            "a.png": PICTURE,
            "a.txt": b"one",
            "__MACOSX/._a.png": b"x",
            "._b.png": b"x",
            ".ipynb_checkpoints/a-checkpoint.png": PICTURE,
        },
    )
    assert loaded(tmp_path) == ({"a.png": ["one"]}, {})


def test_a_tar_beside_loose_pictures(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one"})
    write_tar(tmp_path / "s.tar", {"b.png": PICTURE, "b.txt": b"two"})
    assert loaded(tmp_path) == ({"a.png": ["one"], "b.png": ["two"]}, {})


def test_tars_in_folders_of_a_folder(tmp_path):
    write(tmp_path, {"train/x": b"", "val/x": b""})
    for split, text in (("train", b"one"), ("val", b"two")):
        files = {"a.png": PICTURE, "a.txt": text}
        write_tar(tmp_path / split / "s.tar", files)
    captions = {"train/a.png": ["one"], "val/a.png": ["two"]}
    assert loaded(tmp_path) == (captions, {})
    assert loaded(tmp_path, split="val")[0] == {"val/a.png": ["two"]}


@pytest.mark.skipif(os.getuid() == 0, reason="root reads all folders")
def test_a_folder_that_cannot_be_read_is_reported(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one", "sub/b.png": PICTURE})
    (tmp_path / "sub").chmod(0)
    try:
        captions, reasons = loaded(tmp_path)
    finally:
        (tmp_path / "sub").chmod(stat.S_IRWXU)
    assert list(captions) == ["a.png"]
    assert list(reasons.values()) == ["unreadable folder"]


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_archives_in_a_folder_are_read_or_reported(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one", "t.tar.gz": b"x"})
    write_zip(tmp_path / "s.zip", {"b.png": PICTURE, "b.txt": b"two"})
    (tmp_path / "sub").mkdir()
    write_tar(tmp_path / "sub/s.tar", {"c.png": PICTURE, "c.txt": b"three"})
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    reasons = {"t.tar.gz": "unread archive", "gone.tar": "missing file"}
    pictures = {"b.png": ["two"], "sub/c.png": ["three"]}
    assert loaded(tmp_path) == ({"a.png": ["one"], **pictures}, reasons)
    # Also where there are archives alone, and inside of one.
    (tmp_path / "a.png").unlink()
    assert loaded(tmp_path) == (pictures, reasons)
    write_zip(
        tmp_path / "outer.zip",
        {"inner.zip": b"x", "d.png": PICTURE, "d.txt": b"four"},
    )
    expected = {"d.png": ["four"]}, {"inner.zip": "unread archive"}
    assert loaded(tmp_path / "outer.zip") == expected


def test_a_picture_under_two_names_is_one(tmp_path):
    table = b"file_name,text\na.png,one\n./a.png,two\nsub/../a.png,three"
    write(tmp_path, {"t.csv": table, "a.png": PICTURE})
    rows = find_rows(tmp_path / "t.csv")
    assert [(row.name, row.texts) for row in rows] == [
        ("a.png", ("one", "two", "three"))
    ]


# === Archives ===

FILES = {
    f"{name}{ending}": content
    for name in "abc"
    for ending, content in ((".png", PICTURE), (".txt", name.encode()))
}


@pytest.mark.parametrize("prefix", ["./", "set\\", "set/./"])
def test_names_in_archives_are_compared_as_they_are_meant(tmp_path, prefix):
    files = {prefix + name: content for name, content in FILES.items()}
    table = "\n".join(
        json.dumps({"file_name": f"{n}.png", "text": n}) for n in "abc"
    )
    write_tar(tmp_path / "s.tar", files)
    captions, reasons = loaded(tmp_path / "s.tar")
    assert [texts for texts in captions.values()] == [["a"], ["b"], ["c"]]
    assert not reasons
    pictures = {n: c for n, c in files.items() if n.endswith("png")}
    pictures[prefix + "metadata.jsonl"] = table.encode()
    write_tar(tmp_path / "t.tar", pictures)
    assert loaded(tmp_path / "t.tar") == (captions, {})


def test_a_tar_cut_anywhere_is_damaged(tmp_path):
    write_tar(tmp_path / "whole.tar", FILES)
    content = (tmp_path / "whole.tar").read_bytes()
    end = content.rindex(b"c") // 512 * 512 + 512  # of the last member
    for cut in (*range(512, end, 512), *range(100, end, 700)):
        (tmp_path / "cut.tar").write_bytes(content[:cut])
        captions, reasons = loaded(tmp_path / "cut.tar")
        assert reasons["cut.tar"] == "damaged archive", cut
        for name, caption in captions.items():
            assert caption == [name[0]]
    # The end of one block is enough; tar pads it to more.
    (tmp_path / "cut.tar").write_bytes(content[: end + 512])
    assert loaded(tmp_path / "cut.tar")[1] == {}


def test_a_tar_of_a_negative_size_ends(tmp_path):
    write_tar(tmp_path / "s.tar", {"a.png": b""})
    content = bytearray((tmp_path / "s.tar").read_bytes()[:1024])
    content[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)  # base 256
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    (tmp_path / "s.tar").write_bytes(content)
    captions, reasons = loaded(tmp_path / "s.tar")
    assert captions == {} and reasons["s.tar"] == "damaged archive"


def test_a_tar_of_names_without_end(tmp_path):
    """A long name may itself have a long name."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2
    block = member.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(block * 3000 + bytes(1024))
    assert loaded(tmp_path / "s.tar") == ({}, {"s.tar": "damaged archive"})


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damage_of_every_kind_of_packing(tmp_path, compression):
    path = tmp_path / "s.zip"
    caption = "of letters that pack to more bytes than are damaged here"
    write_zip(path, {**FILES, "a.txt": caption}, compression)
    whole = path.read_bytes()
    start = whole.index(b"a.txt") + len("a.txt")
    num_reported = 0
    for place in range(start, start + 30):
        damaged = bytearray(whole)
        damaged[place] ^= 0x5A
        path.write_bytes(damaged)
        captions, reasons = loaded(path)
        found = captions.pop("a.png", None)
        assert captions == {"b.png": ["b"], "c.png": ["c"]}
        if found is None:
            assert reasons == {"a.png": "unreadable caption"}
            num_reported += 1
        else:  # LZMA says in two bytes which program it was packed by
            assert found == [caption] and not reasons
    assert num_reported >= 20


def archive_bytes(ending):
    with tempfile.TemporaryDirectory() as folder:
        write_one = write_zip if ending == ".zip" else write_tar
        write_one(f"{folder}/s{ending}", FILES)
        return pathlib.Path(f"{folder}/s{ending}").read_bytes()


ARCHIVES = {ending: archive_bytes(ending) for ending in (".tar", ".zip")}
changes = st.lists(
    st.tuples(
        st.integers(0, 10**4),
        st.sampled_from([0, 1, 4, 12, 512]),  # bytes that are taken away
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from([b"\xff" * 12, b"7" * 11 + b"\0", b"-0000001\0"]),
        ),
    ),
    min_size=1,
    max_size=5,
)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.sampled_from(list(ARCHIVES)), changes, st.booleans())
def test_a_damaged_archive_stops_nothing(ending, changes, is_summed):
    content = bytearray(ARCHIVES[ending])
    for place, length, piece in changes:
        place %= len(content) + 1
        content[place : place + length] = piece
    if is_summed and ending == ".tar":  # headers that are not what they sum
        for place in range(0, len(content) - 511, 512):
            header = content[place : place + 512]
            if header[257:262] == b"ustar":
                header[148:156] = b" " * 8
                content[place + 148 : place + 156] = b"%06o\0 " % sum(header)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"s{ending}"
        path.write_bytes(content)
        captions, reasons = loaded(path, verify="decode")
    assert not set(captions) & set(reasons)


def test_a_member_without_a_name(tmp_path):
    path = tmp_path / "s.zip"
    write_zip(path, {**FILES, "nameless": b""})
    # Names end at a zero.
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\0ameless"))
    captions = {"a.png": ["a"], "b.png": ["b"], "c.png": ["c"]}
    assert loaded(path) == (captions, {})


def test_a_table_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "SMALL", 1000)
    table = b"file_name,text\na.png,one\n"
    for size, is_read in ((500, True), (10**6, False)):
        write_zip(
            tmp_path / "s.zip",
            {"a.png": PICTURE, "metadata.csv": table + size * b"\n"},
            zipfile.ZIP_DEFLATED,
        )
        captions, reasons = loaded(tmp_path / "s.zip")
        assert captions == ({"a.png": ["one"]} if is_read else {})
        assert ("metadata.csv" in reasons) is not is_read


def test_a_zip_that_is_none(tmp_path):
    (tmp_path / "s.zip").write_bytes(b"PK" + bytes(100))
    assert loaded(tmp_path / "s.zip") == ({}, {"s.zip": "damaged archive"})


def test_members_of_zips_that_cannot_be_read(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        archive.writestr("empty.png", b"")
        archive.writestr("d.png", PICTURE)
        archive.writestr("d.txt", "d")
    content = bytearray(path.read_bytes())
    # Of `a.png` a byte is another, `b.txt` asks for a password, `c.txt` is
    # packed in a way that Python does not know.
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("a.png").header_offset
    content[offset + 60] ^= 255
    for name, field, value in ((b"b.txt", 8, b"\1"), (b"c.txt", 10, b"\x09")):
        directory = content.rindex(name) - 46
        content[directory + field : directory + field + 1] = value
    path.write_bytes(content)
    captions, reasons = loaded(path)
    assert captions == {"d.png": ["d"]}
    assert reasons == {
        "a.png": "broken picture",
        "b.png": "unreadable caption",
        "c.png": "unreadable caption",
        "empty.png": "no caption",
    }


@pytest.mark.parametrize("packing", ["STORED", "DEFLATED", "BZIP2", "LZMA"])
@pytest.mark.parametrize("name", ["a.txt", "metadata.csv"])
def test_a_zip_damaged_anywhere_is_reported(tmp_path, packing, name):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", getattr(zipfile, f"ZIP_{packing}")) as file:
        file.writestr(name, "file_name,text\na.png,one\n" * 5)
        file.writestr("a.png", PICTURE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for change in (1, 255):
            content = bytearray(whole)
            content[place] ^= change
            path.write_bytes(content)
            captions, reasons = loaded(path)
            assert captions or reasons, place


def test_a_zip_written_anew_under_its_name(tmp_path):
    for text in ("old", "and new"):
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            archive.writestr("a.png", PICTURE)
            archive.writestr("a.txt", text)
        assert loaded(tmp_path / "s.zip") == ({"a.png": [text]}, {})


def test_a_member_that_unpacks_to_too_much(tmp_path):
    with zipfile.ZipFile(
        tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr("a.png", PICTURE + bytes(10**6))
        archive.writestr("a.txt", "one")
        archive.writestr("b.png", PICTURE)
        archive.writestr("b.txt", "two")
    captions, reasons = loaded(tmp_path / "s.zip", max_bytes=10**5)
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "broken picture"}


# === Pictures ===


@pytest.mark.parametrize(
    "kind, ending",
    [("JPEG", ".jfif"), ("JPEG", ".jpe"), ("PPM", ".ppm")]
    + [("JPEG2000", ".jp2"), ("AVIF", ".avif"), ("TIFF", ".tif")],
)
def test_formats_that_people_have(tmp_path, kind, ending):
    content = encoded(kind=kind)
    write(tmp_path, {f"a{ending}": content, "a.txt": b"one"})
    assert loaded(tmp_path, verify="decode")[0] == {f"a{ending}": ["one"]}


def test_a_program_in_the_place_of_a_picture_is_not_run(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for it."""
    import subprocess

    def start(*args, **kwargs):
        raise AssertionError("a program was started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, start)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    write(tmp_path, {"a.png": eps + b"showpage\n%%EOF\n", "a.txt": b"one"})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"two"})
    captions, reasons = loaded(tmp_path, verify="decode")
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "broken picture"}


def test_a_picture_of_too_many_pixels_is_not_unpacked(tmp_path):
    write(tmp_path, {"a.png": encoded(size=(100, 90)), "a.txt": b"one"})
    write(tmp_path, {"b.png": PICTURE, "b.txt": b"two"})
    captions, reasons = loaded(tmp_path, max_pixels=8999)
    assert list(captions) == ["b.png"]
    assert reasons == {"a.png": "broken picture"}
    assert not loaded(tmp_path, max_pixels=9000)[1]
    # Also where the header was not looked at before.
    pairs = load_image_text(tmp_path, 8, verify=None, max_pixels=8999)
    with pytest.warns(UserWarning, match="max_pixels=8999"):
        assert pairs.as_arrays()[1] == ["two"]


def broken(name):
    return Row(name=name, texts=("x",), read=lambda: b"no picture")


def test_a_broken_picture_is_counted_once_by_many_threads():
    for _ in range(20):
        pairs = ImageTextDataset([broken("a")], image_size=8)
        start = threading.Barrier(16)

        def look(pairs=pairs, start=start):
            start.wait()
            with contextlib.suppress(UserWarning):
                pairs._image(0, (8, 8))

        threads = [threading.Thread(target=look) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pairs.report["counts"] == {"broken picture": 1}


@pytest.mark.filterwarnings("ignore:.*is skipped")
def test_a_batch_of_broken_pictures_only(tmp_path):
    good = Row(name="good", texts=("y",), read=lambda: PICTURE)
    pairs = ImageTextDataset(
        [broken("a"), broken("b"), good], image_size=8, batch_size=2
    )
    assert pairs[0]["text"] == ["y"] and pairs[0]["image"].shape[0] == 1
    nothing = ImageTextDataset([broken("a")], image_size=8)
    with pytest.raises(ValueError, match="None of the pictures"):
        nothing[0]


def test_augmentation_in_worker_processes_is_refused(tmp_path):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one"})
    with pytest.raises(ValueError, match="use_multiprocessing=True"):
        load_image_text(tmp_path, 8, augment=True, use_multiprocessing=True)


def test_limits_are_positive(tmp_path):
    for name in ("max_pixels", "max_bytes", "max_line_bytes"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            load_image_text(tmp_path, **{name: 0})


def test_names_that_are_no_text(tmp_path):
    write(tmp_path, {"a.txt": b"one", "b.png": PICTURE, "b.txt": b"two"})
    folder = os.fsencode(tmp_path)
    with open(folder + b"/caf\xe9.png", "wb") as file:
        file.write(PICTURE)
    captions, reasons = loaded(tmp_path)
    assert list(captions) == ["b.png"]
    assert reasons["caf\\udce9.png"] == "no caption"
    assert np.isscalar(load_image_text(tmp_path).identity["names"])

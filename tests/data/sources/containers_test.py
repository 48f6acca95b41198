"""Every file of folders, tars and zips is read, or is reported."""

import io
import os
import pathlib
import socket
import stat
import struct
import tarfile
import tempfile
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from keras_muse.data import load_image_text
from keras_muse.data.sources import containers
from tests.helpers.collections import COLORS
from tests.helpers.collections import FILES
from tests.helpers.collections import PICTURE
from tests.helpers.collections import drawn
from tests.helpers.collections import loaded
from tests.helpers.collections import png
from tests.helpers.collections import write
from tests.helpers.collections import write_tar
from tests.helpers.collections import write_zip


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


def test_a_folder_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": PICTURE, "a.txt": b"one", "sub/b.png": PICTURE})
    (tmp_path / "sub").chmod(0)
    if os.access(tmp_path / "sub", os.R_OK):  # nothing keeps this user out
        scan = os.scandir

        def refuse(folder):
            if os.path.basename(folder) == "sub":
                raise PermissionError(folder)
            return scan(folder)

        monkeypatch.setattr(os, "scandir", refuse)
    try:
        captions, reasons = loaded(tmp_path)
    finally:
        (tmp_path / "sub").chmod(stat.S_IRWXU)
    assert list(captions) == ["a.png"]
    assert list(reasons.values()) == ["unreadable folder"]


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


@drawn(max_examples=200)
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


@pytest.mark.filterwarnings("ignore:.*were skipped")
def test_names_that_are_no_text(tmp_path):
    write(tmp_path, {"a.txt": b"one", "b.png": PICTURE, "b.txt": b"two"})
    folder = os.fsencode(tmp_path)
    with open(folder + b"/caf\xe9.png", "wb") as file:
        file.write(PICTURE)
    captions, reasons = loaded(tmp_path)
    assert list(captions) == ["b.png"]
    assert reasons["caf\\udce9.png"] == "no caption"
    assert np.isscalar(load_image_text(tmp_path).identity["names"])


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

"""Collections of pictures and captions, in folders and archives."""

import io
import json
import pathlib
import tarfile
import warnings
import zipfile

import hypothesis
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from keras_muse.data import load_image_text
from keras_muse.data.sources import find_rows


def encoded(color="red", size=(8, 6), kind="png", **options):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


PICTURE = encoded()


def loaded(path, **options):
    """Captions by the name of the picture, and reasons by name."""
    rows = find_rows(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*were skipped")
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
    return folder


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


def drawn(max_examples=60):
    """The same examples in each run, on a machine of any speed."""
    return hypothesis.settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


FILES = {
    f"{name}{ending}": content
    for name in "abc"
    for ending, content in ((".png", PICTURE), (".txt", name.encode()))
}


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

"""Every line of a table is a caption of a picture, or is reported."""

import csv
import json
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from keras_muse.data import load_image_text
from keras_muse.data.sources import find_rows
from tests.helpers.collections import COLORS
from tests.helpers.collections import PICTURE
from tests.helpers.collections import check
from tests.helpers.collections import check_colors
from tests.helpers.collections import collections
from tests.helpers.collections import drawn
from tests.helpers.collections import loaded
from tests.helpers.collections import png
from tests.helpers.collections import texts
from tests.helpers.collections import write
from tests.helpers.collections import write_tar


def one_caption(text):
    return [text.replace("\r\n", "\n").strip()]


@drawn()
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


@drawn()
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


@drawn()
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
    write(tmp_path, {"t.csv": "file_name,text\na.png,a".encode("utf-16")})
    with pytest.raises(ValueError, match="t.csv.* first line .* UTF-8"):
        load_image_text(tmp_path / "t.csv")


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


def test_a_picture_in_several_splits_is_reported(tmp_path):
    """Of what is tested with, no caption is trained on."""
    lines = b"a.png,one,train\nb.png,two,\na.png,three,test\nb.png,four,val"
    table = b"file_name,text,split\n" + lines
    record = {"file_name": "c.png", "text": "six", "split": "test"}
    write(
        tmp_path,
        {
            **{f"{name}.png": PICTURE for name in "abc"},
            "t.csv": table,
            "metadata.csv": table + b"\nc.png,five,train",
            "metadata.jsonl": json.dumps(record).encode(),
        },
    )
    for path, others in ((tmp_path / "t.csv", ""), (tmp_path, "c")):
        captions, reasons = loaded(path)
        assert captions == {"b.png": ["two", "four"]}
        assert sorted(reasons) == [f"{name}.png" for name in "a" + others]
        assert set(reasons.values()) == {"in several splits"}
        assert loaded(path, split="val")[0] == captions


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


def test_a_picture_under_two_names_is_one(tmp_path):
    table = b"file_name,text\na.png,one\n./a.png,two\nsub/../a.png,three"
    write(tmp_path, {"t.csv": table, "a.png": PICTURE})
    rows = find_rows(tmp_path / "t.csv")
    assert [(row.name, row.texts) for row in rows] == [
        ("a.png", ("one", "two", "three"))
    ]


@pytest.mark.parametrize("ending, comma", [("csv", ","), ("tsv", "\t")])
def test_table_with_several_captions(tmp_path, ending, comma):
    write(tmp_path, {f"p/{n}.png": png(c) for n, c in COLORS.items()})
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


@pytest.mark.parametrize("text", [5, float("nan"), ["good", 5], {"a": "b"}])
def test_a_caption_that_is_no_text_is_reported(tmp_path, text):
    records = [
        {"file_name": "good.png", "text": ["one", None]},
        {"file_name": "odd.png", "text": text},
    ]
    lines = "\n".join(json.dumps(record) for record in records)
    pictures = {name: png("red") for name in ("good.png", "odd.png")}
    write(tmp_path, {**pictures, "metadata.jsonl": lines.encode()})
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
    write(tmp_path / "table", files)
    files = {"a.png": png("red"), "a.txt": f"{text}\r\nthree".encode()}
    write(tmp_path / "sidecars", files)
    for name, lines in (("table", [text]), ("sidecars", [text, "three"])):
        assert load_image_text(tmp_path / name).rows[0]["texts"] == lines


def test_an_absolute_path_is_another_picture(tmp_path):
    write(tmp_path, {"elsewhere/a.png": png("red")})
    other = tmp_path / "elsewhere/a.png"
    folder = tmp_path / "table"
    write(folder, {str(other)[1:]: png("blue")})
    lines = f"file_name,text\n{other},red\n{str(other)[1:]},blue\n"
    write(folder, {"all.csv": lines.encode()})
    pairs = load_image_text(folder / "all.csv", image_size=8)
    assert pairs.texts == ["red", "blue"]
    red, blue = pairs.as_arrays()[0].mean((1, 2))
    assert red.argmax() == 0 and blue.argmax() == 2


def test_the_first_column_that_holds_something_counts(tmp_path):
    lines = [
        {"file_name": "a.png", "text": None, "caption": "one"},
        {"file_name": "a.png", "text": [], "caption": "two"},
        {"file_name": None, "image": "a.png", "text": "three"},
    ]
    table = "\n".join(map(json.dumps, lines)).encode()
    write(tmp_path, {"a.png": PICTURE, "metadata.jsonl": table})
    assert loaded(tmp_path) == ({"a.png": ["one", "two", "three"]}, {})
    table = b"file_name,image,text,caption\na.png,,,one\n ,a.png, ,two\n"
    write(tmp_path, {"t.csv": table})
    assert loaded(tmp_path / "t.csv") == ({"a.png": ["one", "two"]}, {})


def test_names_of_another_system_and_blanks_around_cells(tmp_path):
    table = b"file_name , text\nset\\a.png, one\n set\\a.png ,two \n"
    write(tmp_path, {"set/a.png": PICTURE, "t.csv": table})
    expected = {"set/a.png": ["one", "two"]}, {}
    assert loaded(tmp_path / "t.csv") == expected
    (tmp_path / "t.csv").rename(tmp_path / "metadata.csv")
    assert loaded(tmp_path) == expected

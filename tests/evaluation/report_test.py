import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_muse.evaluation import report

NEAR_IMAGES = ("drawn", "images")


def row(distance, gain, split="all", **changes):
    return {
        "split": split,
        "guidance_scale": 2.0,
        "num_steps": 8,
        "seed": 0,
        "kernel_distance": distance,
        "r_precision": gain,
        "shown": {
            "images": np.zeros((2, 16, 16, 3), "uint8"),
            "texts": ["a cat", "a moon"],
        },
        **changes,
    }


def test_writes_all_files(tmp_path):
    rows = [row(1.0, 0.1), row(2.0, 0.5, num_steps=24), row(3.0, 0.2, "other")]
    reconstructions = [{"split": "all", "psnr": 20.125}]
    directory = tmp_path / "report"
    report.write_report(
        str(directory), rows, reconstructions, {"preset": "mine", "seed": 3}
    )
    assert sorted(f.name for f in directory.iterdir()) == [
        *("pareto.png", "scores.json", "scores.md", "sheet.png")
    ]
    contents = json.loads((directory / "scores.json").read_text())
    assert contents["preset"] == "mine"
    for name, module in (("keras", keras), ("numpy", np)):
        assert f"{name} {module.__version__}" in contents["versions"]
    assert [r["kernel_distance"] for r in contents["scores"]] == [1, 2, 3]
    assert [r.get("on_front") for r in contents["scores"]] == [True, True, None]
    assert contents["reconstructions"] == reconstructions
    text = (directory / "scores.md").read_text()
    assert "| all | 2 | 24 | 2 | 0.5 | 1 | True |" in text and "20.12" in text
    sheet = Image.open(directory / "sheet.png")
    assert sheet.width > 2 * 128 and sheet.height > 3 * 128


def test_no_picture_of_an_earlier_report_stays(tmp_path):
    near = {
        **{name: np.zeros((1, 16, 16, 3), "uint8") for name in NEAR_IMAGES},
        **{"prompts": ["a"], "distances": [0.5], "texts": ["b"]},
    }
    rows = [row(1.0, 0.1, nearest=near), row(2.0, 0.5, num_steps=24)]
    report.write_report(str(tmp_path), rows, [], {})
    (tmp_path / "notes.txt").write_text("mine")
    names = {"nearest.png", "pareto.png"}
    assert names < {x.name for x in tmp_path.iterdir()}
    report.write_report(str(tmp_path), [row(2.0, 0.5)], [], {})
    found = {x.name for x in tmp_path.iterdir()}
    assert found == {"notes.txt", "scores.json", "scores.md", "sheet.png"}


def test_seeds_are_told_as_means_and_spreads(tmp_path):
    rows = [
        row(distance, 0.5, num_steps=steps, seed=seed, num_pictures=9)
        for steps, distances in ((8, (1.0, 2.0, 6.0)), (24, (4.0, 4.0, 4.0)))
        for seed, distance in zip((0, 10, 20), distances, strict=True)
    ]
    directory = tmp_path / "report"
    report.write_report(str(directory), rows, [], {})
    contents = json.loads((directory / "scores.json").read_text())
    first, second = contents["scores"]
    assert first["kernel_distance"] == 3 and first["num_seeds"] == 3
    deviation = np.std([1, 2, 6], ddof=1)
    assert first["spread"]["kernel_distance"] == pytest.approx(deviation)
    assert first["num_pictures"] == 9 and "seed" not in first
    assert second["spread"] == {"kernel_distance": 0, "r_precision": 0}
    # The front is that of the means: 3 is less than 4.
    assert [r["on_front"] for r in contents["scores"]] == [True, False]
    assert [r["seed"] for r in contents["runs"]] == 2 * [0, 10, 20]
    assert "| 3 ± 2.6 |" in (directory / "scores.md").read_text()
    # The sheet shows one seed of each setting.
    assert Image.open(directory / "sheet.png").height < 5 * 128


def test_published_numbers_stand_beside_those_of_the_papers_protocols(tmp_path):
    rows = [row(1.0, 0.1, num_pictures=30, clip_score=0.214)]
    rows[0]["frechet_distance"] = 61.23
    about = {"preset": "mine", "protocol": "cc3m"}
    lines = report.write_report(str(tmp_path / "report"), rows, [], about)
    text = (tmp_path / "report" / "scores.md").read_text()
    assert "\n".join(lines) in text
    own = "| all, guidance 2, 8 steps, 30 pictures | 61.23 | 0.214 | here |"
    assert own in lines
    assert any("| Draft-and-revise | 9.65 | 0.26 |" in line for line in lines)
    for protocol in ("emoji", "pictures"):
        about["protocol"] = protocol
        directory = str(tmp_path / protocol)
        assert report.write_report(directory, rows, [], about) == []


def test_true_pictures_are_the_last_row_of_each_split(tmp_path):
    true = {"kernel_distance": 0.001, "r_precision": 0.875}
    rows = [
        row(1.0, 0.1, split, seed=seed, true=true)
        for split in ("all", "other")
        for seed in (0, 9)
    ]
    report.write_report(str(tmp_path / "report"), rows, [], {})
    contents = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert contents["true_pictures"] == [
        {"split": split, **true} for split in ("all", "other")
    ]
    assert "true" not in contents["runs"][0]
    text = (tmp_path / "report" / "scores.md").read_text()
    for split in ("all", "other"):
        assert f"| {split} | true pictures |  | 0.001 | 0.875 |" in text
    assert "True pictures are scored as if they had been drawn" in text


def test_drawings_are_shown_beside_what_they_are_near_to(tmp_path):
    near = {
        "drawn": np.zeros((3, 16, 16, 3), "uint8"),
        "prompts": ["a", "b", "c"],
        "images": np.full((3, 16, 16, 3), 255, "uint8"),
        "texts": ["d", "e", "f"],
        "distances": [0.1, 0.2, 0.3],
    }
    directory = tmp_path / "report"
    report.write_report(str(directory), [row(1.0, 0.1, nearest=near)], [], {})
    sheet = np.asarray(Image.open(directory / "nearest.png").convert("L"))
    # Six pictures in turn, the drawn ones black.
    assert (sheet == 0).any() and sheet.shape[1] > 6 * 16
    json.loads((directory / "scores.json").read_text())


def test_one_setting_has_no_curve(tmp_path):
    rows = [row(1.0, 0.1), row(1.0, 0.1, "other")]
    report.write_report(str(tmp_path / "report"), rows, [], {})
    assert not (tmp_path / "report" / "pareto.png").exists()


def test_a_name_that_is_no_unicode_is_spelled_out(tmp_path):
    name = "m\udcff"  # as Python has bytes that are not UTF-8
    report.write_report(str(tmp_path), [row(1.0, 0.1)], [], {"preset": name})
    text = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert r"- preset: m\udcff" in text
    contents = json.loads((tmp_path / "scores.json").read_text())
    assert contents["preset"] == name


def test_nothing_is_left_half_written(tmp_path):
    broken = row(1.0, 0.1, shown={"images": np.zeros(3), "texts": None})
    with pytest.raises(ValueError):
        report.write_report(str(tmp_path / "report"), [broken], [], {})
    assert not list(tmp_path.iterdir())

import pytest

from keras_muse import cli
from keras_muse.recipes import quickstart


def test_quickstart_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(
        quickstart, "quickstart", lambda *arguments: calls.append(arguments)
    )
    cli.main(["quickstart", "--output", "here"])
    cli.main(
        ["quickstart", "--output", "a b", "--minutes", "2.5", "--seed", "3"]
    )
    assert calls == [("here", 18.0, 0), ("a b", 2.5, 3)]


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_out_of_range_is_said_before_the_work(seed, tmp_path):
    output = str(tmp_path / "out")
    with pytest.raises(SystemExit, match=f"`seed` must be.*seed={seed}"):
        cli.main(["quickstart", "--output", output, f"--seed={seed}"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes_must_be_above_zero(minutes, tmp_path):
    with pytest.raises(SystemExit, match="--minutes.*above 0"):
        cli.main(
            [
                *("quickstart", "--output", str(tmp_path / "out")),
                f"--minutes={minutes}",
            ]
        )
    assert not (tmp_path / "out").exists()

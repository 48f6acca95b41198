import pytest

from keras_muse.training.checkpoint_loading import find_checkpoint


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    for step in (9, 10, 100):
        (tmp_path / str(step) / "weights").mkdir(parents=True)
    # As a kill leaves it.
    (tmp_path / "200.orbax-checkpoint-tmp" / "weights").mkdir(parents=True)
    assert str(find_checkpoint(tmp_path)) == str(tmp_path / "100")
    # By numbers, not by letters; and one may be chosen.
    assert str(find_checkpoint(tmp_path / "9")) == str(tmp_path / "9")


def test_what_holds_none_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="whole checkpoint.*/empty'"):
        find_checkpoint(tmp_path / "empty")
    with pytest.raises(ValueError, match="`path`"):
        find_checkpoint(7)

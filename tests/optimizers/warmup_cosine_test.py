import pytest
from keras import ops

from keras_muse.optimizers import warmup_cosine


@pytest.mark.parametrize(
    "step, rate",
    [(0, 0.0), (3, 0.03), (10, 0.1), (60, 0.05), (110, 0.0), (500, 0.0)],
)
def test_climbs_then_falls(step, rate):
    schedule = warmup_cosine(0.1, warmup_steps=10, total_steps=110)
    actual = float(ops.convert_to_numpy(schedule(step)))
    assert actual == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize("warmup_steps", [0, 100, 200])
def test_impossible_warmup_raises(warmup_steps):
    with pytest.raises(ValueError, match=f"warmup_steps={warmup_steps}"):
        warmup_cosine(0.1, warmup_steps, total_steps=100)

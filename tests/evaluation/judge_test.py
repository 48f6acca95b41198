import dataclasses

import numpy as np
import pytest

from keras_muse import metrics
from keras_muse.evaluation.judge import Judge
from tests.helpers.colors import ALL
from tests.helpers.colors import DRAWN


@pytest.mark.parametrize("protocol", [DRAWN, ALL])
def test_drawn_pictures_are_held_against_the_references(pairs, drawn, protocol):
    judge = Judge(pairs, protocol, None, None)
    assert judge.rows.num_examples == 10 and judge.copies is None
    for _ in range(2):
        judge.reset()
        judge.update(judge.rows.as_arrays()[0], drawn, judge.rows.texts)
        found = judge.results()
    true = pairs if protocol is ALL else judge.rows
    for make in (metrics.FrechetDistance, metrics.KernelDistance):
        metric = make(protocol.feature_network())
        metric.update_state(true.as_arrays()[0], drawn)
        assert found[metric.name] == pytest.approx(metric.result(), rel=1e-5)
    # Where all rows are references, no others are left for true pictures.
    assert set(judge.true) == (set() if protocol is ALL else set(found))


def test_rows_that_cannot_be_decoded_are_drawn_of_none(pairs):
    protocol = dataclasses.replace(DRAWN, num_prompts=None)
    some = pairs.select(range(6))
    good = some.readable

    class Broken:
        """As if one of the rows could not be decoded."""

        def __getattr__(self, name):
            return getattr(some, name)

        def select(self, rows):
            found = some.select(rows)
            if len(rows) == 6:
                found.readable = lambda: good().select(range(5))
            return found

    judge = Judge(Broken(), protocol, None, None)
    assert judge.rows.texts == some.texts[:5]
    assert judge.scores.num_references == 5
    assert np.isfinite(list(judge.true.values())).all()

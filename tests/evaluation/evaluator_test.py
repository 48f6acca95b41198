import dataclasses

import numpy as np
import pytest

from keras_muse import metrics
from keras_muse.evaluation.evaluator import Evaluator
from tests.helpers.colors import ALL
from tests.helpers.colors import DRAWN


@pytest.mark.parametrize("protocol", [DRAWN, ALL])
def test_drawn_pictures_are_held_against_the_references(pairs, drawn, protocol):
    evaluator = Evaluator(pairs, protocol, None, None)
    assert evaluator.rows.num_examples == 10 and evaluator.copies is None
    for _ in range(2):
        evaluator.reset()
        evaluator.update(
            evaluator.rows.as_arrays()[0], drawn, evaluator.rows.texts
        )
        found = evaluator.results()
    true = pairs if protocol is ALL else evaluator.rows
    for make in (metrics.FrechetDistance, metrics.KernelDistance):
        metric = make(protocol.feature_network())
        metric.update_state(true.as_arrays()[0], drawn)
        assert found[metric.name] == pytest.approx(metric.result(), rel=1e-5)
    # Where all rows are references, no others are left for true pictures.
    assert set(evaluator.true) == (set() if protocol is ALL else set(found))


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

    evaluator = Evaluator(Broken(), protocol, None, None)
    assert evaluator.rows.texts == some.texts[:5]
    assert evaluator.scores.num_references == 5
    assert np.isfinite(list(evaluator.true.values())).all()

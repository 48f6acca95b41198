import dataclasses

import pytest

from keras_muse import metrics
from keras_muse.evaluation import PROTOCOLS
from keras_muse.evaluation.protocols import with_second_scorer
from tests.helpers.colors import DRAWN
from tests.helpers.colors import Colors
from tests.helpers.colors import mean_colors
from tests.helpers.colors import quarters


def test_the_papers_protocols():
    """Imagen's section 4.1 for COCO; the whole validation set of CC3M."""
    coco, cc3m = PROTOCOLS["coco"], PROTOCOLS["cc3m"]
    assert (coco.num_prompts, coco.references) == (30_000, "all")
    assert cc3m.num_prompts is None
    with pytest.raises(ValueError, match="`references` must be one of"):
        dataclasses.replace(coco, references="some")


class Seer(Colors):
    """A scorer with a network of its own."""

    own_network = staticmethod(quarters)


def test_a_second_scorer_is_asked_too(pairs, drawn):
    first = dataclasses.replace(
        DRAWN, text_metrics=lambda: [metrics.RPrecision(Colors(), 3)]
    )
    protocol = with_second_scorer(first, Colors())
    assert protocol.second_network is None
    names = [metric.name for metric in protocol.text_metrics()]
    assert names == ["r_precision", "second_r_precision"]
    again = with_second_scorer(protocol, Colors()).text_metrics()
    assert [metric.name for metric in again] == names
    protocol = with_second_scorer(first, Seer())
    assert protocol.second_network() is quarters
    # A network that was named stays.
    named = dataclasses.replace(first, second_network=lambda: mean_colors)
    named = with_second_scorer(named, Seer())
    assert named.second_network() is mean_colors

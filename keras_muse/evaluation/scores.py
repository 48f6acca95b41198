"""The metrics of a protocol, taken together."""

from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.runtime.messages import say

BATCH_SIZE = 32  # of pictures that the feature network looks at at once


class Scores:
    """The metrics of a protocol, taken together.

    Args:
        protocol: a `Protocol`.
        pairs: the rows that are to be drawn. Metrics that have no value of so
            few are left out, and named, before hours of drawing.
    """

    def __init__(self, protocol, pairs):
        self._network = PictureBatches(protocol.feature_network(), BATCH_SIZE)
        self._of_features = with_value(protocol.feature_metrics(), pairs)
        self._of_pairs = with_value(protocol.pair_metrics(), pairs)
        self._of_texts = with_value(protocol.text_metrics(), pairs)
        self._all = [*self._of_features, *self._of_pairs, *self._of_texts]

    def reset(self):
        for metric in self._all:
            metric.reset_state()

    def update(self, real, generated, texts):
        """Adds pictures of one size, uint8, and the texts of both."""
        # The network looks at each picture once, however many metrics ask.
        features = self._network(real), self._network(generated)
        for metric in self._of_features:
            metric.update_state(*features)
        for metric in self._of_pairs:
            metric.update_state(real, generated)
        for metric in self._of_texts:
            metric.update_state(generated, texts)

    def results(self):
        return {metric.name: float(metric.result()) for metric in self._all}


def with_value(metrics, pairs):
    """Those of some metrics that have a value of these rows; names others."""
    there = {
        "least_pictures": (pairs.num_examples, "pictures"),
        "num_candidates": (len(set(pairs.texts)), "different prompts"),
    }
    kept = []
    for metric in metrics:
        missing = [
            f"it needs {getattr(metric, name)} {what}, here are {number}"
            for name, (number, what) in there.items()
            if getattr(metric, name, 0) > number
        ]
        if missing:
            say(f"{metric.name} is left out: {', and '.join(missing)}")
        else:
            kept.append(metric)
    return kept

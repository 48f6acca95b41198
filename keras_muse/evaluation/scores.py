"""The metrics of a protocol, taken together."""

from keras_muse.metrics.picture_batches import PictureBatches

BATCH_SIZE = 32  # of pictures that the feature network looks at at once


class Scores:
    """The metrics of a protocol, taken together.

    Args:
        protocol: a `Protocol`.
    """

    def __init__(self, protocol):
        self._network = PictureBatches(protocol.feature_network(), BATCH_SIZE)
        self._of_features = protocol.feature_metrics()
        self._of_pairs = protocol.pair_metrics()
        self._of_texts = protocol.text_metrics()
        self._all = [*self._of_features, *self._of_pairs, *self._of_texts]

    def check_prompts(self, pairs):
        """Says what is missing before hours of drawing, not after."""
        num_texts = len(set(pairs.texts))
        for metric in self._of_texts:
            needed = getattr(metric, "num_candidates", 0)
            if needed > num_texts:
                raise ValueError(
                    f"`{metric.name}` needs at least {needed} different "
                    f"prompts. Received: {num_texts} in "
                    f"{pairs.num_examples} rows"
                )

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

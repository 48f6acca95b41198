"""The metrics of a protocol, taken together."""

import os

from keras_muse.evaluation.reference_statistics import read_statistics
from keras_muse.evaluation.reference_statistics import write_statistics
from keras_muse.evaluation.rows import picture_batches
from keras_muse.metrics.feature_moments import FeatureMoments
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.runtime.messages import say

BATCH_SIZE = 32  # of pictures that the feature network looks at at once


class Scores:
    """The metrics of a protocol, taken together.

    True pictures are looked at once, however often others are compared with
    them.

    Args:
        protocol: a `Protocol`.
        pairs: the rows that are to be drawn. Metrics that have no value of so
            few are left out, and named, before hours of drawing.
        references: rows with whose pictures features are compared. Defaults
            to `None`: `pairs`.
        statistics: string, path or `None`. A file with mean and covariance of
            the references' features; where there is none, it is written.
            Defaults to `None`.
    """

    def __init__(self, protocol, pairs, references=None, statistics=None):
        references = pairs if references is None else references
        network = protocol.feature_network()
        self._network = PictureBatches(network, BATCH_SIZE)
        self._of_pairs = with_value(protocol.pair_metrics(), pairs)
        self._of_texts = with_value(protocol.text_metrics(), pairs)
        self._of_features = with_value(
            with_value(protocol.feature_metrics(), pairs), references
        )
        if statistics is not None and os.path.exists(statistics):
            self._take_statistics(statistics, references)
        else:
            self._look_at(references, statistics)
        self._all = [*self._of_features, *self._of_pairs, *self._of_texts]
        self.reset()

    def _look_at(self, references, statistics):
        """Makes the true half of the state, and the file that was asked for."""
        moments = FeatureMoments()
        self.num_references = 0
        for images, _ in picture_batches(references, BATCH_SIZE):
            self.num_references += len(images)
            features = self._network(images)
            for metric in self._of_features:
                metric.update_state(features, None)
            if statistics is not None:
                moments += FeatureMoments(features)
        self._real = [metric.real for metric in self._of_features]
        if statistics is not None:
            about, _ = self._about(references)
            write_statistics(statistics, moments, about)
            say(f"{statistics} has the statistics of {moments.count} pictures")

    def _take_statistics(self, path, references):
        about, feature_dim = self._about(references)
        moments = read_statistics(path, about, feature_dim)
        say(f"{path} stands for the true pictures")
        for metric in self._of_features:
            if not metric.needs_moments_only:
                say(
                    f"{metric.name} is left out: it needs each true picture, "
                    f"and {path} has statistics only"
                )
        self._of_features = [
            metric for metric in self._of_features if metric.needs_moments_only
        ]
        self._real = [moments for _ in self._of_features]
        self.num_references = moments.count

    def _about(self, references):
        """Whose features they are, of pictures of which size; how many."""
        images, _ = next(picture_batches(references, 1))
        network = self._network.network
        name = getattr(network, "__name__", type(network).__name__)
        size = "{} x {}".format(*images.shape[1:3])
        feature_dim = self._network(images).shape[1]
        return {"network": name, "image_size": size}, feature_dim

    def reset(self):
        for metric in self._all:
            metric.reset_state()
        for metric, real in zip(self._of_features, self._real, strict=True):
            metric.real = real

    def update(self, real, generated, texts):
        """Adds pictures of one size, uint8, and the texts of both."""
        if self._of_features:
            # The network looks at each once, however many metrics ask.
            features = self._network(generated)
            for metric in self._of_features:
                metric.update_state(None, features)
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

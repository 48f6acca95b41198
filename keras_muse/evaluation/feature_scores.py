"""Distances of two sets of pictures, in the eyes of one network."""

import os

from keras_muse.evaluation.reference_statistics import read_statistics
from keras_muse.evaluation.reference_statistics import write_statistics
from keras_muse.evaluation.rows import BATCH_SIZE
from keras_muse.evaluation.rows import picture_batches
from keras_muse.metrics.feature_moments import FeatureMoments
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.runtime.messages import say


class FeatureScores:
    """Metrics of the features of true and drawn pictures.

    True pictures are looked at once, however often others are compared with
    them, and each picture once, however many metrics there are.

    Args:
        network: function or model of pictures that returns features.
        metrics: list of new `FeatureMetric`.
        references: rows with whose pictures others are compared.
        statistics: string, path or `None`. A file with mean and covariance of
            the references' features; where there is none, it is written.
            Defaults to `None`.
    """

    def __init__(self, network, metrics, references, statistics=None):
        self._network = PictureBatches(network, BATCH_SIZE)
        self.metrics = metrics
        # Whether other pictures may be among the references.
        self.is_from_file = statistics is not None and os.path.exists(
            statistics
        )
        if self.is_from_file:
            self._take(statistics, references)
        else:
            self._look_at(references, statistics)
        self.reset()

    def _look_at(self, references, statistics):
        """Makes the true half of the state, and the file that was asked for."""
        moments = FeatureMoments()
        self.num_references = 0
        for images, _ in picture_batches(references):
            self.num_references += len(images)
            features = self._network(images)
            for metric in self.metrics:
                metric.update_state(features, None)
            if statistics is not None:
                moments += FeatureMoments(features)
        self._real = [metric.real for metric in self.metrics]
        if statistics is not None:
            about, _ = self._about(references)
            write_statistics(statistics, moments, about)
            say(f"{statistics} has the statistics of {moments.count} pictures")

    def _take(self, path, references):
        moments = read_statistics(path, *self._about(references))
        say(f"{path} stands for the true pictures")
        for metric in self.metrics:
            if not metric.needs_moments_only:
                say(
                    f"{metric.name} is left out: it needs each true picture, "
                    f"and {path} has statistics only"
                )
        self.metrics = [m for m in self.metrics if m.needs_moments_only]
        self._real = [moments for _ in self.metrics]
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
        for metric, real in zip(self.metrics, self._real, strict=True):
            metric.reset_state()
            metric.real = real

    def update(self, images):
        """Adds uint8 pictures, drawn ones or what is compared as if it were."""
        if self.metrics:
            features = self._network(images)
            for metric in self.metrics:
                metric.update_state(None, features)

    def results(self):
        return {metric.name: metric.result() for metric in self.metrics}

    # === The ceiling ===

    def results_of_others(self, others):
        """Distances of the references and other true pictures."""
        self.reset()
        for images, _ in picture_batches(others):
            self.update(images)
        found = self.results()
        self.reset()
        return found

    def results_of_halves(self, rows):
        """Distances of two halves of some rows.

        Only of metrics whose expectation does not depend on how many pictures
        there are; others would look worse than they are.
        """
        metrics = []
        for metric in self.metrics:
            least = 2 * metric.least_pictures
            if not metric.is_unbiased:
                _say_no_ceiling(metric, "there are not as many others")
            elif rows.num_examples < least:
                why = f"two halves need {least}, here are {rows.num_examples}"
                _say_no_ceiling(metric, why)
            else:
                metric.reset_state()
                metrics.append(metric)
        if not metrics:
            return {}
        for images, _ in picture_batches(rows):
            features = self._network(images)
            for metric in metrics:
                metric.update_state(features[::2], None)
                if len(features) > 1:
                    metric.update_state(None, features[1::2])
        found = {metric.name: metric.result() for metric in metrics}
        self.reset()
        return found

    def say_no_ceiling(self, why):
        """Says of each metric why it is not taken of true pictures."""
        for metric in self.metrics:
            _say_no_ceiling(metric, why)


def _say_no_ceiling(metric, why):
    say(f"{metric.name} of true pictures is left out: {why}")

"""The metrics of a protocol, taken together."""

import numpy as np

from keras_muse.evaluation.feature_scores import FeatureScores
from keras_muse.evaluation.rows import BATCH_SIZE
from keras_muse.evaluation.rows import by_another_hand
from keras_muse.evaluation.rows import picture_batches
from keras_muse.runtime.messages import say

SECOND = "second_"


class Scores:
    """The metrics of a protocol, taken together.

    Args:
        protocol: a `Protocol`.
        pairs: the rows that are to be drawn. Metrics that have no value of so
            few are left out, and named, before hours of drawing.
        references: rows with whose pictures features are compared. Defaults
            to `None`: `pairs`.
        statistics: string, path or `None`. See `FeatureScores`; of the first
            network.
    """

    def __init__(self, protocol, pairs, references=None, statistics=None):
        references = pairs if references is None else references
        self._rows = pairs
        self._of_pairs = with_value(protocol.pair_metrics(), pairs)
        self._of_texts = with_value(protocol.text_metrics(), pairs)
        self._of_sets = []
        networks = (protocol.feature_network, protocol.second_network)
        for i, network in enumerate(networks):
            if network is None:
                continue
            metrics = protocol.feature_metrics()
            for metric in metrics if i else ():
                metric.name = SECOND + metric.name
            metrics = with_value(with_value(metrics, pairs), references)
            self._of_sets.append(
                FeatureScores(
                    network(), metrics, references, None if i else statistics
                )
            )

    @property
    def num_references(self):
        return self._of_sets[0].num_references

    def reset(self):
        for metric in (*self._of_pairs, *self._of_texts):
            metric.reset_state()
        for scores in self._of_sets:
            scores.reset()

    def update(self, real, generated, texts):
        """Adds pictures of one size, uint8, and the texts of both."""
        for scores in self._of_sets:
            scores.update(generated)
        for metric in self._of_pairs:
            metric.update_state(real, generated)
        for metric in self._of_texts:
            metric.update_state(generated, texts)

    def results(self):
        found = {}
        for scores in self._of_sets:
            found.update(scores.results())
        for metric in (*self._of_pairs, *self._of_texts):
            found[metric.name] = float(metric.result())
        return found

    # === The ceiling ===

    def true_results(self, others=None, pools=()):
        """Scores true pictures as if they had been drawn.

        - A score of pictures and texts is that of the true pictures.
        - A distance of two sets is that of the references and of as many other
          true pictures. Where there are not so many, one whose expectation
          does not depend on their number is that of two halves of the rows.
        - A distance of two pictures would be zero. It is that of another
          hand's drawing of the same thing, if most rows have one.

        Args:
            others: true pictures that are not among the references. Defaults
                to `None`: not known to be so.
            pools: datasets in which drawings by another hand are looked for.

        Returns:
            A dict of scores by the names of the metrics.
        """
        self.reset()
        found, enough = {}, self._rows.num_examples
        for scores in self._of_sets:
            if others is None:
                scores.say_no_ceiling("no others than the references are known")
            elif scores.is_from_file:
                scores.say_no_ceiling("others may be among those of the file")
            elif others.num_examples >= enough:
                others = others.select_evenly(enough)
                found.update(scores.results_of_others(others))
            else:
                found.update(scores.results_of_halves(self._rows))
        found.update(self._of_hands(pools))
        if self._of_texts:
            for images, texts in picture_batches(self._rows):
                for metric in self._of_texts:
                    metric.update_state(images, texts)
            for metric in self._of_texts:
                found[metric.name] = float(metric.result())
        self.reset()
        return found

    def _of_hands(self, pools):
        hands = by_another_hand(self._rows, pools) if self._of_pairs else []
        if not hands or 2 * len(hands) < self._rows.num_examples:
            return {}
        is_empty = True
        for start in range(0, len(hands), BATCH_SIZE):
            pictures = [
                (_picture(self._rows, place), _picture(pool, other))
                for place, pool, other in hands[start : start + BATCH_SIZE]
            ]
            pictures = [
                (true, drawn)
                for true, drawn in pictures
                if true is not None and drawn is not None
            ]
            if not pictures:
                continue
            is_empty = False
            true, drawn = map(np.stack, zip(*pictures, strict=True))
            for metric in self._of_pairs:
                metric.update_state(true, drawn)
        if is_empty:
            return {}
        return {m.name: float(m.result()) for m in self._of_pairs}


def _picture(pairs, place):
    """A picture as an array, or `None` if it cannot be decoded."""
    images, _ = pairs.select([place]).as_arrays()
    return images[0] if len(images) else None


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

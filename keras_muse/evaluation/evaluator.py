"""All that looks at drawn pictures."""

from keras_muse.evaluation.nearest import Copies
from keras_muse.evaluation.nearest import NearestPictures
from keras_muse.evaluation.rows import other_rows
from keras_muse.evaluation.rows import rows_to_draw
from keras_muse.evaluation.scores import Scores


class Evaluator:
    """All that looks at drawn pictures, and what it says of true ones.

    Args:
        pairs: dataset of all rows, of which the protocol takes some.
        protocol: a `Protocol`.
        statistics: string, path or `None`. See `FeatureScores`.
        training_pairs: the rows that the model was trained on, or `None`.
    """

    def __init__(self, pairs, protocol, statistics, training_pairs):
        self.rows = rows_to_draw(pairs, protocol).readable()
        references, others = None, other_rows(pairs, protocol)
        if protocol.references == "all":
            references, others = pairs, None
        self.scores = Scores(protocol, self.rows, references, statistics)
        pools = [pool for pool in (pairs, training_pairs) if pool is not None]
        self.true = self.scores.true_results(others, pools)
        self.copies = None
        if training_pairs is not None:
            nearest = NearestPictures(training_pairs)
            self.copies = Copies(nearest, self.rows)
            self.true.update(self.copies.true_results())

    def reset(self):
        self.scores.reset()
        if self.copies is not None:
            self.copies.reset()

    def update(self, true, drawn, texts):
        self.scores.update(true, drawn, texts)
        if self.copies is not None:
            self.copies.update(drawn)

    def results(self):
        found = self.scores.results()
        if self.copies is not None:
            found.update(self.copies.results())
        return found

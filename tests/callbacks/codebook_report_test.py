import warnings

import keras
import numpy as np
import pytest

from keras_muse.metrics import CodebookPerplexity
from keras_muse.metrics import CodebookUsage
from keras_muse.training import CodebookReport


class Coder(keras.Model):
    """Looks its codes up, and counts which of four were asked for."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(4, 1)
        self.usage = CodebookUsage(4)
        self.perplexity = CodebookPerplexity(4)

    def call(self, token_ids):
        return self.embedding(token_ids)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        self.usage.update_state(x)
        self.perplexity.update_state(x)
        return keras.ops.mean(keras.ops.square(y_pred))


def fit(token_ids, epochs=2, **kwargs):
    model = Coder()
    model.compile("sgd")
    token_ids = np.array(token_ids, "int32")
    report = CodebookReport(**kwargs)
    model.fit(token_ids, epochs=epochs, callbacks=[report], verbose=0)


def test_reports_every_epoch(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit([[0, 1], [1, 0]])
    printed = capsys.readouterr().out
    for epoch in (1, 2):
        expected = (
            f"Epoch {epoch}: 50.0% of the codebook in use, perplexity 2.0"
        )
        assert expected in printed


def test_warns_once_when_few_codes_are_in_use(capsys):
    with pytest.warns(UserWarning, match="Only 25.0% of the codebook") as seen:
        fit([[3, 3], [3, 3]], warn_below=0.3)
    assert len([w for w in seen if "codebook" in str(w.message)]) == 1
    assert capsys.readouterr().out.count("25.0%") == 2


def test_says_when_there_is_nothing_to_report(capsys):
    report = CodebookReport()
    with pytest.warns(UserWarning, match=r"Received: logs=\['loss'\]"):
        report.on_epoch_end(0, {"loss": 1.0})
    assert not capsys.readouterr().out


def test_unusable_threshold_raises():
    with pytest.raises(ValueError, match="Received: warn_below=50"):
        CodebookReport(warn_below=50)

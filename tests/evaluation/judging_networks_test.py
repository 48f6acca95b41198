import keras
import pytest

from keras_muse.evaluation import PROTOCOLS
from keras_muse.metrics.networks import CLIPScorer


def test_a_network_that_cannot_be_fetched_is_a_clear_line(monkeypatch):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on https://somewhere")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr(CLIPScorer, "from_preset", unreachable)
    for name, make in (
        ("Inception network of FID", PROTOCOLS["coco"].feature_network),
        ("CLIP, 'clip_vit_large_patch14'", PROTOCOLS["cc3m"].text_metrics),
    ):
        with pytest.raises(OSError, match=f"{name}.*could not.*URL fetch"):
            make()

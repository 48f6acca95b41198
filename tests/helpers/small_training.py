"""The recipe of whole trainings with all its sizes made tiny."""

import contextlib

import pytest

from keras_muse import MuseBase
from keras_muse import MuseSuperRes
from keras_muse import VQGANTokenizer
from keras_muse import metrics
from keras_muse.evaluation.protocols import PROTOCOLS
from keras_muse.evaluation.protocols import Protocol
from keras_muse.models.presets.architectures import ARCHITECTURES
from keras_muse.recipes import recipe
from keras_muse.recipes import stages

CODES = 16
CHANGES = {
    "vqgan_f4_tiny": {
        "base_channels": 8,
        "codebook_size": CODES,
        "codebook_dim": 4,
        "num_groups": 4,
    },
    "muse_base_tiny": {},
    "muse_super_res_tiny": {},
}
TRANSFORMER = {
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}


def no_features(images):
    return images


class Killed(BaseException):
    """Not an `Exception`: nothing may catch it and go on."""


class Record:
    """What was trained on what, and which pictures became tokens."""

    def __init__(self):
        self.fitted = []
        self.pictures = []
        self.pairs = []
        self.kill_at = None

    def of_fit(self, cls, fit):
        def recorded(model, x=None, **kwargs):
            if cls.__name__ == self.kill_at:
                raise Killed
            self.fitted.append(cls.__name__)
            if cls is VQGANTokenizer:
                self.pictures.append((x.small, x.large))
            return fit(model, x, **kwargs)

        return recorded

    def of_write_token_shards(self, write_token_shards):
        def recorded(pairs, *args, **kwargs):
            self.pairs.append(pairs)
            return write_token_shards(pairs, *args, **kwargs)

        return recorded


@contextlib.contextmanager
def tiny_sizes():
    """Small models and batches and one metric; gives a `Record`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, changes in CHANGES.items():
            cls, config = ARCHITECTURES[name]
            if cls != "VQGANTokenizer":
                changes = TRANSFORMER
            patch.setitem(ARCHITECTURES, name, (cls, {**config, **changes}))
        patch.setattr(stages, "tokenizer_batch_size", lambda size: 8)
        patch.setattr(stages, "transformer_batch_size", lambda *sizes: 8)
        for module, name, value in (
            (recipe, "NUM_MEASURED", 16),
            (recipe.drawings, "NUM_SCORED", 4),
            (recipe.drawings, "NUM_ON_THE_WAY", 2),
            (recipe.drawings, "NUM_AT_THE_END", 2),
        ):
            patch.setattr(module, name, value)
        cheap = Protocol(
            feature_network=lambda: no_features,
            feature_metrics=list,
            pair_metrics=lambda: [metrics.PSNR()],
            text_metrics=list,
        )
        patch.setitem(PROTOCOLS, "pictures", cheap)
        record = Record()
        for cls in (VQGANTokenizer, MuseBase, MuseSuperRes):
            patch.setattr(cls, "fit", record.of_fit(cls, cls.fit))
        patch.setattr(
            recipe,
            "write_token_shards",
            record.of_write_token_shards(recipe.write_token_shards),
        )
        yield record

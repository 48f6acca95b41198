"""What once ended in an error of another library names its argument."""

import numpy as np
import pytest

import keras_muse
from keras_muse import data
from keras_muse import metrics
from keras_muse import training
from keras_muse.data.token_shards.read import _process
from keras_muse.muse.inputs import check_prompts
from tests.helpers import tiny_muse

EMBEDDED = {"text_embeddings": np.zeros((1, 2, 3), "float32")}


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: metrics.PSNR().merge_state(metrics.PSNR()), "`metrics`"),
        (lambda: training.load_checkpoint(None, "run"), "`model`"),
        (lambda: keras_muse.losses.AdversarialLoss(None), "`discriminator`"),
        (lambda: data.load_emoji(5), "`directory`"),
        (lambda: data.load_emoji(styles=[["noto"]]), "`styles`"),
        (lambda: data.load_emoji(skin_tones="no"), "`skin_tones`"),
        (lambda: training.ImageGrid(print, "x", log_dir=5), "`log_dir`"),
        (lambda: _process("a", 1), "`process_index`"),
        (lambda: _process(1, 1), "`process_index`.*process_index=1"),
        (
            lambda: check_prompts({**EMBEDDED, "text_mask": 5}, None),
            "`text_mask`",
        ),
        (
            lambda: check_prompts({**EMBEDDED, "text_mask": None}, None),
            "`text_mask`",
        ),
    ],
)
def test_the_argument_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_what_is_no_path_is_named():
    muse = tiny_muse.tiny_muse()
    for save in (
        muse.save_to_preset,
        muse.base.save_to_preset,
        muse.text_encoder.save_to_preset,
    ):
        with pytest.raises(ValueError, match="`preset_dir` must be a string"):
            save(5)
    for function in (muse.base.save_lora_weights, muse.base.load_lora_weights):
        with pytest.raises(ValueError, match="`filepath` must be a string"):
            function(5)

"""Whole presets of others to presets of Keras."""

from keras_muse.converters.parity import report
from keras_muse.models.presets import published
from keras_muse.models.text_encoders.text_encoder import TextEncoder
from keras_muse.models.transformers.uvit_base import UViTBase
from keras_muse.models.vqgan.vqgan_tokenizer import VQGANTokenizer
from keras_muse.muse.muse import Muse
from keras_muse.muse.preset import PIPELINE_CLASSES


def convert(source, output):
    """Loads what others have published and saves it as a Keras preset.

    Args:
        source: string. A directory or handle that `from_preset` of `Muse`,
            `UViTBase`, `VQGANTokenizer` or `TextEncoder` reads.
        output: string. The directory of the new preset.

    Returns:
        How near each model is to its original, as
        `keras_muse.converters.report` gives it.

    Raises:
        ValueError: if nothing reads `source`, or a tensor of it is missing,
            has no place or does not fit.

    Example:
    ```python
    from keras_muse import converters

    for row in converters.convert("hf://amused/amused-256", "amused_256"):
        print(row["part"], row["difference"])
    ```
    """
    model = _load(source)
    parts = {"": model}
    if isinstance(model, Muse):
        parts = {name: getattr(model, name) for name in PIPELINE_CLASSES}
    rows = report(source, parts)
    model.save_to_preset(output)
    return rows


def _load(source):
    if published.is_pipeline(source):
        return Muse.from_preset(source)
    if published.is_own(source):
        raise ValueError(
            "`source` must be a preset of others; this is one of Keras "
            f"already. Received: source={source!r}"
        )
    for cls in (UViTBase, VQGANTokenizer):
        if published.is_read_by(source, cls.converters):
            return cls.from_preset(source)
    return TextEncoder.from_preset(source)

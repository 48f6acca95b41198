"""`evaluate_tokenizer`: what is left of pictures that were tokens."""

from keras_muse import metrics
from keras_muse.evaluation.rows import BATCH_SIZE
from keras_muse.evaluation.rows import picture_batches
from keras_muse.evaluation.rows import size_of
from keras_muse.evaluation.scores import with_value
from keras_muse.ops.images import to_pixels


def evaluate_tokenizer(tokenizer, pairs, feature_network):
    """Scores the reconstructions of a data set.

    Args:
        tokenizer: a `keras_muse.VQGANTokenizer`.
        pairs: what `load_image_text` or `load_emoji` returns, unshuffled, at
            a size that the tokenizer's downsampling factor divides.
        feature_network: function or model of pictures that returns features,
            such as `keras_muse.metrics.networks.FIDInception()`.

    Returns:
        A dict of `"num_pictures"`, `"image_size"` (a side, or `(height,
        width)` where they differ), `"rfid"` (the Frechet distance in these
        features), `"psnr"`, `"perceptual_distance"`, `"codebook_usage"` and
        `"codebook_perplexity"`. One that has no value for so few pictures is
        left out, with a message.

    Example:
    ```python
    import keras_muse

    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 1), codebook_size=16,
        codebook_dim=4, num_groups=4,
    )
    pairs = keras_muse.data.load_emoji(
        image_size=32, styles=["fxemoji"], split="test_pair"
    )
    network = keras_muse.metrics.networks.EfficientNetLite0()
    keras_muse.evaluation.evaluate_tokenizer(tokenizer, pairs, network)
    ```
    """
    pairs = pairs.readable()
    of_pictures = with_value(
        [
            metrics.FrechetDistance(feature_network, name="rfid"),
            metrics.PSNR(),
            metrics.PerceptualDistance(),
        ],
        pairs,
    )
    of_tokens = [
        metrics.CodebookUsage(tokenizer.codebook_size),
        metrics.CodebookPerplexity(tokenizer.codebook_size),
    ]
    for images, _ in picture_batches(pairs):
        token_ids = tokenizer.encode(images, batch_size=BATCH_SIZE)
        restored = tokenizer.decode(token_ids, batch_size=BATCH_SIZE)
        for metric in of_pictures:
            metric.update_state(images, to_pixels(restored))
        for metric in of_tokens:
            metric.update_state(token_ids)
    return {
        "num_pictures": pairs.num_examples,
        "image_size": size_of(images),
        **{
            metric.name: float(metric.result())
            for metric in (*of_pictures, *of_tokens)
        },
    }

"""How well pictures fit texts, in the eyes of CLIP."""

import keras
import keras_hub
import numpy as np
from PIL import Image

from keras_muse.metrics.picture_batches import check_captioned
from keras_muse.metrics.picture_batches import check_pictures
from keras_muse.ops import images as image_ops
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_texts

# Mean and deviation of the pictures that CLIP was trained on, in [0, 1].
_PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
_PIXEL_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@keras.saving.register_keras_serializable(package="keras_muse")
class CLIPScorer:
    """Cosine similarity of pictures and texts in CLIP's common space.

    Pictures are treated as CLIP's own code does it: as 8-bit pixels, scaled
    by Pillow's bicubic filter until they cover the model's size, of which the
    centre is cut out. Texts are cut off at the model's length.

    Its `score` is what `Muse.generate` takes as `scorer`. Its configuration
    has neither the weights nor the vocabulary; `from_preset` loads both.

    Args:
        backbone: a `keras_hub.models.CLIPBackbone`.
        tokenizer: a `keras_hub.models.CLIPTokenizer` of the same vocabulary.
        batch_size: int. How many pictures or texts the model takes at once.
            Defaults to `32`.

    Example:

    ```python
    import keras_hub
    import numpy as np

    from keras_muse.metrics.networks import CLIPScorer

    # scorer = CLIPScorer.from_preset("clip_vit_base_patch32")
    # muse.generate(["a red cat"], best_of=8, scorer=scorer.score)
    sizes = {
        "hidden_dim": 8,
        "num_layers": 1,
        "num_heads": 2,
        "intermediate_dim": 8,
    }
    backbone = keras_hub.models.CLIPBackbone(
        keras_hub.models.CLIPVisionEncoder(
            patch_size=8, image_shape=(16, 16, 3), **sizes
        ),
        keras_hub.models.CLIPTextEncoder(
            vocabulary_size=6, embedding_dim=8, **sizes
        ),
        projection_dim=8,
    )
    pieces = ["a", "b", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    tokenizer = keras_hub.models.CLIPTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, merges=["a b</w>"]
    )
    scorer = CLIPScorer(backbone, tokenizer)
    scorer.score(np.zeros((2, 20, 16, 3), "uint8"), ["ab", "b"])  # shape (2,)
    ```

    Reference:
        - [Radford et al., 2021](https://arxiv.org/abs/2103.00020)
        - [Hessel et al., 2021](https://arxiv.org/abs/2104.08718)
    """

    def __init__(self, backbone, tokenizer, batch_size=32):
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.batch_size = check_int(batch_size, "batch_size")
        self._image_shape = tuple(backbone.vision_encoder.image_shape)
        self._text_length = backbone.text_encoder.max_sequence_length
        images = keras.Input(self._image_shape)
        self._image_tower = keras.Model(
            images, backbone.get_vision_embeddings(images)
        )
        token_ids = keras.Input((self._text_length,), dtype="int32")
        self._text_tower = keras.Model(
            token_ids, backbone.get_text_embeddings(token_ids)
        )

    @classmethod
    def from_preset(cls, preset, batch_size=32, dtype="float32"):
        """Loads a CLIP that KerasHub knows.

        Args:
            preset: string. A name such as `"clip_vit_base_patch32"`, a
                `kaggle://` or `hf://` handle, or a directory.
            batch_size: int. Defaults to `32`.
            dtype: string or `keras.DTypePolicy`, of the model. Defaults to
                `"float32"`.

        Returns:
            A `CLIPScorer`.
        """
        return cls(
            keras_hub.models.CLIPBackbone.from_preset(preset, dtype=dtype),
            keras_hub.models.CLIPTokenizer.from_preset(preset),
            batch_size,
        )

    def score(self, images, texts):
        """How well each picture fits its text; a scorer for `best_of`.

        Args:
            images: array of shape `(n, height, width, 3)`, uint8 in [0, 255]
                or float in [-1, 1].
            texts: list of `n` strings.

        Returns:
            A float32 numpy array of shape `(n,)`: cosines, in [-1, 1].

        Raises:
            ValueError: if there are not as many texts as images.
        """
        images, texts = check_captioned(images, texts)
        return np.sum(
            self.image_embeddings(images) * self.text_embeddings(texts), axis=-1
        )

    def image_embeddings(self, images):
        """Vectors of pictures.

        Args:
            images: array of shape `(n, height, width, 3)`, uint8 in [0, 255]
                or float in [-1, 1].

        Returns:
            A float32 numpy array of shape `(n, dim)`, each row of length 1.
        """
        return self._embeddings(self._image_tower, self._pixels(images))

    def text_embeddings(self, texts):
        """Vectors of texts.

        Args:
            texts: list of `n` strings.

        Returns:
            A float32 numpy array of shape `(n, dim)`, each row of length 1.
        """
        return self._embeddings(self._text_tower, self._token_ids(texts))

    def _embeddings(self, tower, inputs):
        embeddings = tower.predict(inputs, self.batch_size, verbose=0)
        embeddings = embeddings.astype("float32")
        return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)

    def _pixels(self, images):
        images = check_pictures(images, "images")
        image_ops.check_range(images)
        if not image_ops.is_pixels(images):
            images = image_ops.to_pixels(images)
        size = self._image_shape[0]
        pixels = np.stack([_covering_square(image, size) for image in images])
        return (pixels / 255 - _PIXEL_MEAN) / _PIXEL_DEVIATION

    def _token_ids(self, texts):
        texts = check_texts(texts, "texts")
        tokenizer = self.tokenizer
        token_ids = np.full(
            (len(texts), self._text_length), tokenizer.pad_token_id, "int32"
        )
        for row, ids in zip(token_ids, tokenizer(texts), strict=True):
            ids = ids[: self._text_length - 2]
            row[: len(ids) + 2] = [
                tokenizer.start_token_id,
                *ids,
                tokenizer.end_token_id,
            ]
        return token_ids

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            keras.saving.deserialize_keras_object(config["backbone"]),
            keras.saving.deserialize_keras_object(config["tokenizer"]),
            config["batch_size"],
        )


def _covering_square(image, size):
    """The centre of a picture whose shorter side is scaled to `size`."""
    height, width = image.shape[:2]
    short = min(height, width)
    height, width = height * size // short, width * size // short
    top, left = (height - size) // 2, (width - size) // 2
    picture = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(picture)[top : top + size, left : left + size]

"""Two towers that say how well a picture fits a text."""

import functools

import keras
import numpy as np
from keras import ops

from keras_muse.metrics.networks import EfficientNetLite0
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.metrics.picture_batches import check_captioned
from keras_muse.metrics.picture_batches import check_pictures
from keras_muse.models.muse_model import MuseModel
from keras_muse.models.text_encoders.minilm_text_encoder import (
    MiniLMTextEncoder,
)
from keras_muse.ops.images import to_model_range
from keras_muse.runtime.batches import map_batches
from keras_muse.runtime.checks import check_choice
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_number
from keras_muse.runtime.checks import check_texts
from keras_muse.runtime.inputs import Input
from keras_muse.runtime.inputs import check_inputs
from keras_muse.scorers.picture_network import IMAGE_SIZE
from keras_muse.scorers.picture_network import PictureNetwork

# Similarities are at most 1; CLIP lets no logit exceed 100 of them.
MAX_LOGIT_SCALE = 100.0
BATCH_SIZE = 32  # of pictures, and of texts, that pass a network at once
IMAGE_FEATURE_DIM, TEXT_FEATURE_DIM = 1280, 384
IMAGE_NETWORKS = ("efficientnet_lite0", "own")


@keras.saving.register_keras_serializable(package="keras_muse")
class PictureTextScorer(MuseModel):
    """Scores pictures against texts, in the manner of CLIP.

    Two frozen networks make features of pictures and of texts: the bundled
    EfficientNet-Lite0 and MiniLM. Two small towers, which are all that is
    trained, bring both into one space, where the picture and the text of a
    pair are near. `from_preset("emoji_scorer")` was trained on the `train`
    rows of the bundled drawings.

    With `image_network="own"` the picture's network is a small one that is
    trained along with the towers: a second opinion of pictures like those it
    was trained on. `from_preset("emoji_second_scorer")` is one. It shares
    MiniLM and the drawings with the first, but sees through neither
    EfficientNet-Lite0, on which `emoji_scorer` and the distances of `evaluate`
    rest, nor AlexNet, which a tokenizer is trained to please. No loss has ever
    seen it.

    Args:
        hidden_dim: int. Width inside the towers. Defaults to `512`.
        embedding_dim: int. Width of the space they share. Defaults to `256`.
        dropout: float in [0, 1). Part of the features that training leaves
            out. Defaults to `0.3`.
        image_network: `"efficientnet_lite0"` or `"own"`. Defaults to
            `"efficientnet_lite0"`.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        inputs: dict of `"image_features"`, float `(batch, 1280)`, or, with a
            network of its own, `"images"`, uint8 or float in [-1, 1]
            `(batch, 64, 64, 3)`;
            `"text_features"`, float `(batch, 384)`; and in `fit` also
            `"caption_ids"`, int `(batch,)`: rows of one caption have one
            number, and are not held against each other.
        training: bool. Whether features are dropped.

    Returns:
        A dict of `"image"` and `"text"`: float32 tensors of unit length, of
        shape `(batch, embedding_dim)`.

    Example:
    ```python
    import numpy as np
    import keras_muse

    scorer = keras_muse.models.PictureTextScorer(hidden_dim=16)
    images = np.zeros((2, 64, 64, 3), "uint8")
    scorer.score(images, ["a red apple", "a cat"])  # 2 cosines
    # muse.generate("a red apple", best_of=4, scorer=scorer.score)
    ```

    Reference:
        - [CLIP](https://arxiv.org/abs/2103.00020)
    """

    term_weights = {"contrastive_loss": 1.0}

    def __init__(
        self,
        hidden_dim=512,
        embedding_dim=256,
        dropout=0.3,
        image_network="efficientnet_lite0",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_network = check_choice(
            image_network, "image_network", IMAGE_NETWORKS
        )
        self.hidden_dim = check_int(hidden_dim, "hidden_dim")
        self.embedding_dim = check_int(embedding_dim, "embedding_dim")
        self.dropout = check_number(dropout, "dropout", 0, 1, open_at="high")
        self.frozen = FrozenFeatures()
        self.own_network = None
        if image_network == "own":
            self.own_network = PictureNetwork(name="own_network")
        self.image_tower = self._tower("image_tower")
        self.text_tower = self._tower("text_tower")
        self.build()

    def _tower(self, name):
        return keras.Sequential(
            [
                # Files of LoRA and presets know layers by their names.
                keras.layers.LayerNormalization(name="norm"),
                keras.layers.Dropout(self.dropout),
                keras.layers.Dense(
                    self.hidden_dim, activation="gelu", name="hidden_dense"
                ),
                keras.layers.Dropout(self.dropout),
                keras.layers.Dense(self.embedding_dim, name="embedding_dense"),
                keras.layers.UnitNormalization(dtype="float32"),
            ],
            name=name,
        )

    def build(self, input_shape=None):
        image_feature_dim = IMAGE_FEATURE_DIM
        if self.own_network is not None:
            self.own_network.build((None, IMAGE_SIZE, IMAGE_SIZE, 3))
            image_feature_dim = self.own_network.feature_dim
        self.image_tower.build((None, image_feature_dim))
        self.text_tower.build((None, TEXT_FEATURE_DIM))
        self.log_scale = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(np.log(1 / 0.07)),
            name="log_scale",
        )
        self.built = True

    def batch_inputs(self, training):
        pictures = {"image_features": Input(((IMAGE_FEATURE_DIM,),))}
        if self.own_network is not None:
            pictures = {"images": Input(((IMAGE_SIZE, IMAGE_SIZE, 3),))}
        return {
            **pictures,
            "text_features": Input(((TEXT_FEATURE_DIM,),)),
            "caption_ids": Input(((),), is_optional=not training),
        }

    def call_outputs(self, inputs):
        check_inputs(inputs, self.batch_inputs(training=False), "inputs")
        return self.loss_inputs(inputs, training=False)

    def loss_inputs(self, inputs, training):
        if self.own_network is None:
            features = inputs["image_features"]
        else:
            features = self.own_network(to_model_range(inputs["images"]))
        return {
            "image": self.image_tower(features, training=training),
            "text": self.text_tower(inputs["text_features"], training=training),
        }

    # === Training ===

    def loss_terms(self, inputs, outputs, training):
        scale = ops.minimum(ops.exp(self.log_scale), MAX_LOGIT_SCALE)
        logits = scale * ops.matmul(
            outputs["image"], ops.transpose(outputs["text"])
        )  # (batch of pictures, batch of texts)
        ids = inputs["caption_ids"]
        same = ops.equal(ids[:, None], ids[None, :])
        others = ops.where(
            ops.eye(ops.shape(ids)[0], dtype="bool"), False, same
        )
        logits = ops.where(others, -1e9, logits)
        right = ops.diagonal(logits)
        loss = ops.mean(
            (ops.logsumexp(logits, axis=0) + ops.logsumexp(logits, axis=1)) / 2
            - right
        )
        return {"contrastive_loss": loss}

    # === Scoring ===

    def image_embeddings(self, images):
        """Pictures as points in the common space.

        Args:
            images: array of shape `(num_images, height, width, 3)`, uint8 in
                [0, 255] or float in [-1, 1].

        Returns:
            float32 numpy array of shape `(num_images, embedding_dim)`, rows
            of unit length.
        """
        features = self._image_features(check_pictures(images, "images"))
        return self._embed("image tower", self.image_tower, features)

    @functools.cached_property
    def _image_features(self):
        if self.own_network is None:
            return self.frozen.image_features
        return PictureBatches(self.own_network, BATCH_SIZE)

    def text_embeddings(self, texts):
        """Texts as points in the common space.

        Args:
            texts: list of strings.

        Returns:
            float32 numpy array of shape `(num_texts, embedding_dim)`, rows of
            unit length.
        """
        features = self.frozen.text_features(check_texts(texts, "texts"))
        return self._embed("text tower", self.text_tower, features)

    def _embed(self, name, tower, features):
        embed = self._compiled.get(name, lambda x: tower(x))
        return map_batches(embed, [features], BATCH_SIZE)

    def score(self, images, texts):
        """How well each picture fits its text; a scorer for `best_of`.

        Args:
            images: array of shape `(num_images, height, width, 3)`, uint8 in
                [0, 255] or float in [-1, 1].
            texts: list of as many strings.

        Returns:
            float32 numpy array of shape `(num_images,)`: cosines.
        """
        images, texts = check_captioned(images, texts)
        return (
            self.image_embeddings(images) * self.text_embeddings(texts)
        ).sum(axis=1)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
            "image_network": self.image_network,
        }


class FrozenFeatures:
    """The bundled networks in whose features towers compare.

    No Keras object: a scorer that holds one neither trains nor saves them.

    Example:
    ```python
    from keras_muse.scorers.picture_text_scorer import FrozenFeatures

    FrozenFeatures().text_features(["a red apple"]).shape  # (1, 384)
    ```
    """

    @functools.cached_property
    def text_encoder(self):
        return MiniLMTextEncoder.from_preset("all_minilm_l6_v2")

    @functools.cached_property
    def _look(self):
        return PictureBatches(EfficientNetLite0(), BATCH_SIZE)

    def image_features(self, images):
        """What EfficientNet-Lite0 makes of pictures.

        Args:
            images: array of shape `(num_images, height, width, 3)`, uint8 in
                [0, 255] or float in [-1, 1].

        Returns:
            float32 numpy array of shape `(num_images, 1280)`.
        """
        return self._look(check_pictures(images, "images"))

    def text_features(self, texts):
        """The mean of what MiniLM makes of a text's tokens.

        Args:
            texts: list of strings.

        Returns:
            float32 numpy array of shape `(num_texts, 384)`.
        """
        states, mask = self.text_encoder.encode(list(texts), verbose=0)
        mask = mask[:, :, None]
        return (states * mask).sum(axis=1) / mask.sum(axis=1)

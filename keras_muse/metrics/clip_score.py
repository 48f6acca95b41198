"""How well pictures fit their texts, in the eyes of CLIP."""

import keras
import numpy as np

from keras_muse.metrics.merging import deserialize_entry
from keras_muse.metrics.paired_embeddings import check_scorer
from keras_muse.metrics.paired_embeddings import paired_embeddings
from keras_muse.metrics.picture_mean import PictureMean


@keras.saving.register_keras_serializable(package="keras_muse")
class CLIPScore(PictureMean):
    """Mean cosine similarity of pictures and their texts, in `[-1, 1]`.

    Higher is better. The scale is that of the tables of text-to-image papers,
    where good models reach about 0.3; other libraries (torchmetrics) report
    100 times the value and nothing below zero, and the paper that named the
    score 2.5 times. Values of different CLIP models cannot be compared.

    The metric is for loops and callbacks, not for `compile(metrics=...)`.

    Args:
        scorer: `CLIPScorer`, or another object whose
            `image_embeddings(images)` and `text_embeddings(texts)` return
            arrays of shape `(batch, embedding_dim)`.
        name: string. Defaults to `"clip_score"`.

    Call arguments:
        images: pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of shape
            `(batch, height, width, 3)`. The scorer gets them as they come.
        texts: list of strings, one per picture.

    Returns:
        Python float, from `result()`.

    Raises:
        ValueError: if `scorer` has no such methods or gives other shapes, if
            the texts are not one per picture, or if there is no picture at
            `result()`.

    Example:

    ```python
    import numpy as np

    import keras_muse


    class Colors:  # knows the color of a picture, and the names of three
        def image_embeddings(self, images):
            return images.mean(axis=(1, 2))

        def text_embeddings(self, texts):
            colors = ["red", "green", "blue"]
            return np.eye(3)[[colors.index(text) for text in texts]]


    metric = keras_muse.metrics.CLIPScore(Colors())
    images = np.zeros((2, 8, 8, 3), "uint8")
    images[..., 0] = 255
    metric.update_state(images, ["red", "blue"])
    metric.result()  # 0.5
    ```

    Reference:
        - [Radford et al., 2021](https://arxiv.org/abs/2103.00020)
        - [Hessel et al., 2021](https://arxiv.org/abs/2104.08718)
    """

    def __init__(self, scorer, name="clip_score"):
        check_scorer(scorer)
        super().__init__(name=name)
        self.scorer = scorer

    def update_state(self, images, texts):
        images, texts, _ = paired_embeddings(self.scorer, images, texts)
        self.add(np.sum(images * texts, axis=1))

    def get_config(self):
        scorer = keras.saving.serialize_keras_object(self.scorer)
        return {**super().get_config(), "scorer": scorer}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_entry(config, "scorer"))

"""Whether pictures can be told by their texts: R-precision."""

import keras
import numpy as np

from keras_muse.metrics.merging import check_mergeable
from keras_muse.metrics.merging import deserialize_entry
from keras_muse.metrics.paired_embeddings import check_scorer
from keras_muse.metrics.paired_embeddings import paired_embeddings
from keras_muse.runtime.checks import LARGEST_SEED
from keras_muse.runtime.checks import check_int


@keras.saving.register_keras_serializable(package="keras_muse")
class RPrecision(keras.metrics.Metric):
    """Part of pictures that are nearest to their own text of many.

    Each picture is compared with its own text and with `num_candidates - 1`
    others, drawn for it without repetition from the different texts that the
    metric has seen; a text equal to its own is never among them. It counts if
    its own text is strictly nearer, by cosine similarity, than all others: a
    tie is a miss. Higher is better, and `1 / num_candidates` is chance.

    The draws are those of `(seed, i)` for picture `i`, in order of arrival:
    the value does not depend on how the pictures came in batches.

    The state, on the host, is the embeddings of all pictures and of all
    different texts. The metric is for loops and callbacks, not for
    `compile(metrics=...)`.

    Args:
        scorer: `CLIPScorer`, or another object whose
            `image_embeddings(images)` and `text_embeddings(texts)` return
            arrays of shape `(batch, embedding_dim)`.
        num_candidates: int, at least 2. Number of texts that a picture is
            compared with, its own among them. Defaults to `100`.
        seed: int. Seed of the draws. Defaults to `0`.
        name: string. Defaults to `"r_precision"`.

    Call arguments:
        images: pictures, uint8 in `[0, 255]` or float in `[-1, 1]`, of shape
            `(batch, height, width, 3)`. The scorer gets them as they come.
        texts: list of strings, one per picture.

    Returns:
        Python float in `[0, 1]`, from `result()`.

    Raises:
        ValueError: if `scorer` has no such methods or gives other shapes, if
            `num_candidates` or `seed` is out of range, if the texts are not
            one per picture, or if there are fewer different texts than
            `num_candidates` at `result()`.

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


    metric = keras_muse.metrics.RPrecision(Colors(), num_candidates=2)
    images = np.zeros((2, 8, 8, 3), "uint8")
    images[..., 0] = 255
    metric.update_state(images, ["red", "blue"])
    metric.result()  # 0.5
    ```

    Reference:
        - [Xu et al., 2018 (AttnGAN)](https://arxiv.org/abs/1711.10485)
    """

    def __init__(self, scorer, num_candidates=100, seed=0, name="r_precision"):
        check_scorer(scorer)
        num_candidates = check_int(num_candidates, "num_candidates", low=2)
        seed = check_int(seed, "seed", low=0, high=LARGEST_SEED)
        super().__init__(name=name)
        self.scorer = scorer
        self.num_candidates = num_candidates
        self.seed = seed
        self.reset_state()

    def reset_state(self):
        self._of_images = []  # an embedding a picture
        self._texts = []  # a text per picture
        self._of_texts = {}  # an embedding a different text

    @property
    def embedding_dim(self):
        """Length of the embeddings seen so far, or `None`."""
        return len(self._of_images[0]) if self._of_images else None

    def update_state(self, images, texts):
        of_images, of_texts, texts = paired_embeddings(
            self.scorer, images, texts
        )
        if self.embedding_dim not in (None, of_images.shape[1]):
            raise ValueError(
                "`scorer` must always give embeddings of the same length. "
                f"Received: length {of_images.shape[1]}, before it "
                f"{self.embedding_dim}"
            )
        self._add(of_images, texts, zip(texts, of_texts, strict=True))

    def merge_state(self, metrics):
        """Takes in what other metrics have seen, after what this one has.

        Args:
            metrics: iterable of metrics of the same class. They stay as they
                are.
        """
        common = ("embedding_dim", "num_candidates", "seed")
        for metric in check_mergeable(self, metrics, common):
            self._add(
                metric._of_images, metric._texts, metric._of_texts.items()
            )

    def _add(self, of_images, texts, of_texts):
        self._of_images.extend(of_images)
        self._texts.extend(texts)
        for text, embedding in of_texts:
            self._of_texts.setdefault(text, embedding)

    def result(self):
        if len(self._of_texts) < self.num_candidates:
            raise ValueError(
                "RPrecision needs at least `num_candidates` different texts. "
                f"Received: {len(self._of_texts)} different texts, "
                f"num_candidates={self.num_candidates}"
            )
        of_texts = np.stack(list(self._of_texts.values()))
        index = {text: i for i, text in enumerate(self._of_texts)}
        hits = 0
        for i, (of_image, text) in enumerate(
            zip(self._of_images, self._texts, strict=True)
        ):
            candidates = self._candidates(i, index[text], len(of_texts))
            # Row by row, so that equal embeddings tie to the last bit.
            similarity = np.sum(of_texts[candidates] * of_image, axis=1)
            hits += similarity[0] > similarity[1:].max()
        return float(hits / len(self._texts))

    def _candidates(self, picture, own, num_texts):
        """Indices of the texts a picture is compared with, its own first."""
        draws = np.random.default_rng([self.seed, picture])
        others = draws.choice(
            num_texts - 1, self.num_candidates - 1, replace=False
        )
        others += others >= own  # steps over its own
        return [own, *others]

    def get_config(self):
        return {
            "name": self.name,
            "scorer": keras.saving.serialize_keras_object(self.scorer),
            "num_candidates": self.num_candidates,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_entry(config, "scorer"))

"""Whether drawn pictures are copies: how near training pictures are."""

import numpy as np

from keras_muse.evaluation.rows import BATCH_SIZE
from keras_muse.evaluation.rows import picture_batches
from keras_muse.losses.lpips import LPIPS
from keras_muse.metrics.networks import PerceptualFeatures
from keras_muse.metrics.picture_batches import PictureBatches
from keras_muse.runtime.checks import check_int

# Drawn pictures are counted that are nearer to a training picture than all but
# this part of the true ones, which were never trained on.
PART = 0.05
_SMALLEST = 1e-12


class NearestPictures:
    """The training picture that is nearest to a picture, and how near it is.

    Near is what LPIPS says, of the picture or of its mirror image. It is
    taken of the few training pictures whose features (the last map of LPIPS's
    AlexNet, averaged) are nearest by their cosine; a copy is among those.

    Args:
        pairs: the rows that a model was trained on, from `load_image_text` or
            `load_emoji`. Their features are kept, their pictures are not.
        num_candidates: int. Of how many pictures LPIPS is taken. Defaults to
            `4`.

    Example:
    ```python
    import keras_muse
    from keras_muse.evaluation.nearest import NearestPictures

    pairs = keras_muse.data.load_emoji(styles=["fxemoji"])
    images, _ = pairs.select(range(2)).as_arrays()
    distances, indices = NearestPictures(pairs)(images)
    distances, indices  # [0., 0.], [0, 1]
    ```
    """

    def __init__(self, pairs, num_candidates=4):
        check_int(num_candidates, "num_candidates")
        self.pairs = pairs.readable()
        self.num_candidates = min(num_candidates, self.pairs.num_examples)
        self._look = PictureBatches(PerceptualFeatures("alexnet"), BATCH_SIZE)
        self._lpips = PictureBatches(LPIPS("alexnet"), BATCH_SIZE)
        batches = picture_batches(self.pairs)
        features = [self._directions(images) for images, _ in batches]
        self._features = np.concatenate(features)  # (num_rows, feature_dim)

    def _directions(self, images):
        features = self._look(images)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return features / np.maximum(lengths, _SMALLEST)

    def __call__(self, images):
        """Looks for the nearest training picture of each.

        Args:
            images: uint8 array of the size of the training pictures.

        Returns:
            Two arrays of shape `(num_images,)`: the distances, and the places
            of the pictures in `self.pairs`.
        """
        mirrored = images[:, :, ::-1]
        candidates = self._candidates(images, mirrored)
        k = self.num_candidates
        true = self._pictures(candidates.ravel())
        distances = [
            self._lpips(np.repeat(x, k, axis=0), true).reshape(-1, k)
            for x in (images, mirrored)
        ]
        distances = np.minimum(*distances)  # (num_images, k)
        best = distances.argmin(axis=1)[:, None]
        return (
            np.take_along_axis(distances, best, axis=1)[:, 0],
            np.take_along_axis(candidates, best, axis=1)[:, 0],
        )

    def _candidates(self, images, mirrored):
        """Places of those with the nearest features, `(num_images, k)`."""
        similar = np.maximum(
            *(
                self._directions(x) @ self._features.T
                for x in (images, mirrored)
            )
        )
        k = self.num_candidates
        return np.argpartition(similar, -k, axis=1)[:, -k:]

    def _pictures(self, indices):
        images, _ = self.pairs.select(indices.tolist()).as_arrays()
        return images


class Copies:
    """Distances of many pictures to their nearest training pictures.

    Args:
        nearest: `NearestPictures`.
        rows: true pictures that were never trained on, of the same size: what
            is no copy.
    """

    def __init__(self, nearest, rows):
        self._nearest = nearest
        size = _size(rows)
        if size != _size(nearest.pairs):
            raise ValueError(
                "`training_pairs` must be of the size of `pairs`, "
                f"{size}. Received: {_size(nearest.pairs)}"
            )
        batches = picture_batches(rows)
        found = [nearest(images)[0] for images, _ in batches]
        self._of_true = np.concatenate(found)
        self._bound = np.quantile(self._of_true, PART)
        self.reset()

    def reset(self):
        self._distances, self._places = [], []

    def update(self, images):
        """Adds drawn pictures, uint8 and of the same size."""
        distances, places = self._nearest(images)
        self._distances.extend(distances.tolist())
        self._places.extend(places.tolist())

    def results(self):
        """Scores of the drawn pictures, by name.

        `"nearest_distance"` is the median of their distances;
        `"nearer_than_true"` the part of them that is nearer to a training
        picture than 95 % of the true ones: more than 0.05 is suspicious.
        """
        return self._numbers(self._distances)

    def true_results(self):
        """The same of the true pictures."""
        return self._numbers(self._of_true)

    def _numbers(self, distances):
        return {
            "nearest_distance": float(np.median(distances)),
            "nearer_than_true": float(np.mean(distances < self._bound)),
        }

    def closest_rows(self, count):
        """Numbers of the drawn pictures that are nearest, in that order."""
        return np.argsort(self._distances)[:count].tolist()

    def training_pictures(self, rows):
        """What drawn pictures are near to.

        Args:
            rows: list of the numbers of drawn pictures, in order of arrival.

        Returns:
            A dict of `"distances"`, a list; and of the nearest training
            pictures `"images"`, an array, and `"texts"`, a list.
        """
        places = [self._places[row] for row in rows]
        images, texts = self._nearest.pairs.select(places).as_arrays()
        distances = [self._distances[row] for row in rows]
        return {"distances": distances, "images": images, "texts": texts}


def _size(pairs):
    images, _ = next(picture_batches(pairs, 1))
    return images.shape[1:3]

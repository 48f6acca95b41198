"""The drawn pictures that are kept to be looked at."""

import numpy as np

NUM_SHOWN, NUM_NEAREST = 32, 16


class KeptPictures:
    """The drawn pictures that are kept to be looked at.

    Some of all rows; and, if copies are looked for, those that are nearest
    to a training picture.

    Args:
        num_rows: int. How many will be drawn.
        copies: `Copies`, which has seen each picture before, or `None`.
    """

    def __init__(self, num_rows, copies):
        self._rows = set(
            np.linspace(0, num_rows - 1, NUM_SHOWN).astype(int).tolist()
        )
        self._copies = copies
        self._kept, self._near = {}, {}

    def update(self, rows, drawn, at_size, texts):
        for i, row in enumerate(rows):
            if row in self._rows:
                self._kept[row] = drawn[i], texts[i]
        if self._copies is not None:
            pictures = zip(at_size, texts, strict=True)
            self._near.update(zip(rows, pictures, strict=True))
            nearest = self._copies.closest_rows(NUM_NEAREST)
            self._near = {row: self._near[row] for row in nearest}

    def results(self):
        images, texts = zip(*self._kept.values(), strict=True)
        found = {
            "shown": {
                "rows": list(self._kept),
                "images": np.stack(images),
                "texts": list(texts),
            }
        }
        if self._copies is not None:
            drawn, prompts = zip(*self._near.values(), strict=True)
            found["nearest"] = {
                "drawn": np.stack(drawn),
                "prompts": list(prompts),
                **self._copies.training_pictures(list(self._near)),
            }
        return found

"""One captioned picture of a source."""

import collections.abc
import dataclasses
import functools
import hashlib

import numpy as np

# What the names of pictures end in, in small letters.
IMAGE_ENDINGS = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One captioned picture, not yet decoded.

    `read()` gives the encoded bytes or a uint8 array of the picture. A row
    that cannot be used has a `problem` instead, so that it can be counted.
    """

    name: str
    texts: tuple[str, ...] = ()
    read: collections.abc.Callable | None = None
    metadata: dict = dataclasses.field(default_factory=dict)
    problem: str | None = None

    @functools.cached_property
    def digest(self):
        """A hash of the picture's bytes; `None` if they cannot be read."""
        try:
            return content_digest(self.read())
        except Exception:
            # Of many kinds, on damaged files; who decodes it reports it.
            return None


def content_digest(content):
    """A hash of a picture as its source holds it, bytes or an array."""
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(content).hexdigest()

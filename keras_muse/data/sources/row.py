"""One captioned picture of a source."""

import collections.abc
import dataclasses

# What the names of pictures end in, in small letters.
IMAGE_ENDINGS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".png", ".ppm", ".tif", ".tiff", ".webp"),
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

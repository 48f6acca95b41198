"""How much of a collection is read at once, whatever it says of itself."""

import dataclasses

from keras_muse.runtime.checks import check_int


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on what one file of a collection may take.

    Args:
        max_bytes: int. Of a picture or a caption's file, unpacked.
        max_line_bytes: int. Of a line of a table.
    """

    max_bytes: int = 2**28
    max_line_bytes: int = 2**24

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check_int(value, field.name, high=2**62)


# Tables hold all captions of a collection, and are read whole.
MAX_TABLE_BYTES = 2**33

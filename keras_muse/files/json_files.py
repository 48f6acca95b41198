"""Files of JSON, whatever stands in them."""

import json
import os

from keras_muse.files.damage import reading


def read_object(path, **types):
    """The JSON object in a file, as a dict.

    Args:
        path: string or path.
        **types: type, or tuple of types, by the names of entries. They must
            be there and be of it.

    Raises:
        ValueError: if the file is no JSON, holds no object, or an entry is
            missing or of another type; the file and the entry are named.
    """
    with reading(path):
        with open(path, encoding="utf-8") as file:
            contents = json.load(file)
    check_entries(contents, path, **types)
    return contents


def check_entries(contents, path, place="", **types):
    """Raises unless something is a dict with entries of these types.

    Args:
        contents: what was read.
        path: string or path, of the file that it is from.
        place: string. Where in the file it is; `""` is the whole.
        **types: as in `read_object`.
    """
    path = os.fspath(path)
    if not isinstance(contents, dict):
        where = f" in {place}" if place else ""
        raise ValueError(
            f"`{path}` must hold a JSON object{where}. Received: a "
            f"{type(contents).__name__}"
        )
    for name, kinds in types.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if name not in contents:
            raise ValueError(
                f"`{path}` has no `{name}`{f' in {place}' if place else ''}"
            )
        # `True` is an int in Python, and none in JSON.
        if type(contents[name]) not in kinds:
            raise ValueError(
                f"`{name}` in `{path}` must be of type "
                f"{' or '.join(kind.__name__ for kind in kinds)}. Received: "
                f"{name}={contents[name]!r}"
            )


def check_file_name(name, path):
    """Raises unless a name read from a file is that of one beside it."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or (os.path.basename(name) != name or "\\" in name or "\0" in name)
    ):
        raise ValueError(
            f"`{os.fspath(path)}` must name files beside it. Received: {name!r}"
        )

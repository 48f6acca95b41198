"""The pictures of one session: files in a folder of this run of the page."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
import weakref

from PIL import Image

from keras_muse.demo import limits
from keras_muse.demo.tidy import PICTURES
from keras_muse.training.sheets import save_picture


@dataclasses.dataclass(frozen=True)
class Kept:
    """A picture of the gallery.

    Attributes:
        path: string. A PNG that remembers how it was drawn.
        made: dict, the same.
    """

    path: str
    made: dict

    @property
    def caption(self):
        """What the gallery says below it."""
        return f"{self.made['prompt']} · {self.made['seed']}"


def keep(gallery, drawn, folder):
    """A gallery with one picture more in front, and none too many.

    Args:
        gallery: list of `Kept`; it is not changed.
        drawn: a `drawing.Drawn`.
        folder: string, the `place` of the session.

    Returns:
        list of `Kept`.
    """
    # A name that nobody else guesses.
    place = tempfile.mkdtemp(dir=folder)
    path = os.path.join(place, f"muse_{drawn.made['seed']}.png")
    save_picture(Image.fromarray(drawn.image), path, drawn.made, False)
    kept = [Kept(path, drawn.made), *gallery]
    forget(kept[limits.MAX_KEPT :])
    return kept[: limits.MAX_KEPT]


def forget(gallery):
    """Removes the files of pictures."""
    for kept in gallery:
        remove([kept.path])
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(kept.path))


def remove(paths):
    """Removes files, of which some may be gone."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def keep_unfinished(unfinished, folder):
    """The file of a picture that is seen for a moment."""
    handle, path = tempfile.mkstemp(".webp", dir=folder)
    with os.fdopen(handle, "wb") as file:
        Image.fromarray(unfinished.image).save(file, "WEBP", quality=80)
    return path


@dataclasses.dataclass
class Session:
    """What the page knows of one person, and shows to nobody else.

    Attributes:
        gallery: list of `Kept`, the newest first.
        picture: uint8 array of shape `(height, width, 3)`, the one that is
            drawn on, or `None`.
        unfinished: list of strings, files that were seen for a moment.
        own: `DrawOptions` of the picture whose settings were restored, within
            the limits of the page, or `None`: those of the model.
        folder: string, where the gallery's files are, or `None`: nowhere yet.
    """

    gallery: list = dataclasses.field(default_factory=list)
    picture: object = None
    unfinished: list = dataclasses.field(default_factory=list)
    own: object = None
    folder: object = None

    def place(self, folder):
        """The folder for its gallery, which is gone with the session.

        gradio calls nobody when it lets go of a session to make room.
        """
        if self.folder is None:
            pictures = os.path.join(folder, PICTURES)
            os.makedirs(pictures, exist_ok=True)
            self.folder = tempfile.mkdtemp(dir=pictures)
            weakref.finalize(self, _forget_all, self.folder, self.unfinished)
        return self.folder


def _forget_all(folder, unfinished):
    remove(unfinished)
    shutil.rmtree(folder, ignore_errors=True)

"""What a training keeps between its starts."""

import contextlib
import os
import pathlib

from keras_muse.files.json_files import read_object
from keras_muse.files.whole import WRITING
from keras_muse.files.whole import claimed
from keras_muse.files.whole import write_json

TRAINING_FILE = "training.json"
SIZES_FILE = "sizes.json"
# What stands beside `work`, and is written anew by each start.
PRESET, SCORES = "preset", "scores"
GRID_FILE, PROGRESS_FILE = "grid.png", "progress.png"
LORA_FILE = "base.lora.h5"
LEFT = (PRESET, SCORES, GRID_FILE, PROGRESS_FILE, LORA_FILE)


class Work:
    """The directory `work` of a training, which belongs to it alone.

    A training that is refused leaves nothing.

    Args:
        output: string. The directory of the whole training.
        about: dict, as JSON knows it. What the training is of; a directory of
            another one is refused.
    """

    def __init__(self, output, about):
        self.output = output
        self.directory = os.path.join(output, "work")
        self._about = about
        self._check()

    def _others(self):
        """Names of what is there, and would be replaced."""
        others = [x for x in LEFT if os.path.lexists(self.beside(x))]
        return ["work", *others] if self._is_used() else others

    def _is_used(self):
        """Whether there is more than a kill leaves at the very beginning."""
        if not os.path.isdir(self.directory):
            return os.path.lexists(self.directory)
        names = os.listdir(self.directory)
        return any(not name.startswith(WRITING) for name in names)

    def _check(self):
        if self.has(TRAINING_FILE):
            found = read_object(self.path(TRAINING_FILE))
            names = sorted({*found, *self._about})
            others = [n for n in names if found.get(n) != self._about.get(n)]
            if others:
                raise ValueError(
                    "`output` must be new, or a directory of this training. "
                    "Give another one, or what it was begun with. Received: "
                    f"output={self.output!r}, begun with other "
                    f"{', '.join(others)}"
                )
        elif others := self._others():
            raise ValueError(
                "`output` must be new, or a directory of this training, which "
                f"writes {others[0]} there. Give another one. Received: "
                f"output={self.output!r}, with {', '.join(others)} of "
                "something else"
            )

    def beside(self, name):
        """The path of one of `LEFT`."""
        return os.path.join(self.output, name)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def has(self, *names):
        return os.path.exists(self.path(*names))

    def once(self, name, make, **types):
        """A dict that is made once and kept, as JSON knows it.

        Args:
            name: string. The file's.
            make: function without arguments that returns the dict.
            **types: types of its entries, as `read_object` takes them. With
                none of them, it may have any.
        """
        if not self.has(name):
            made = make()
            os.makedirs(self.directory, exist_ok=True)
            write_json(self.path(TRAINING_FILE), self._about)
            write_json(self.path(name), made)
        kept = read_object(self.path(name), **types)
        others = sorted(set(kept) - set(types)) if types else ()
        if others:
            raise ValueError(
                f"`{self.path(name)}` must have no other entries than "
                f"{', '.join(types)}. Received: {', '.join(others)}"
            )
        return kept

    @contextlib.contextmanager
    def claimed(self):
        """Keeps other trainings away, until its end or that of the process.

        Where nothing is kept in it, the directory goes again.
        """
        missing = [self.directory]
        if not os.path.isdir(self.output):
            missing.append(self.output)
        os.makedirs(self.directory, exist_ok=True)
        with claimed(self.directory) as is_alone:
            if not is_alone:
                raise ValueError(
                    "`output` is being written by another training: wait for "
                    "its end, or give another one. Received: "
                    f"output={self.output!r}"
                )
            try:
                self._check()  # another may have come and gone
                self._remove_half_written()
                yield
            finally:
                with contextlib.suppress(OSError):  # they are not empty
                    for directory in missing:
                        os.rmdir(directory)

    def _remove_half_written(self):
        """Removes what a kill in the middle of a save has left."""
        for path in pathlib.Path(self.directory).rglob(f"{WRITING}*"):
            if path.is_file():
                path.unlink()

"""What a training keeps between its starts."""

import contextlib
import os

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

    It is made when there is something to keep: a training that is refused
    leaves nothing.

    Args:
        output: string. The directory of the whole training.
        about: dict, as JSON knows it. What the training is of; a directory of
            another one is refused.
    """

    def __init__(self, output, about):
        self.output = output
        self.directory = os.path.join(output, "work")
        self._about = about
        path = self.path(TRAINING_FILE)
        if os.path.exists(path):
            self._check(output, read_object(path), about)
        elif others := self._others():
            raise ValueError(
                "`output` must be new, or a directory of this training, which "
                f"writes {others[0]} there. Give another one. Received: "
                f"output={output!r}, with {', '.join(others)} of something else"
            )

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

    @staticmethod
    def _check(output, found, about):
        names = sorted({*found, *about})
        others = [n for n in names if found.get(n) != about.get(n)]
        if others:
            raise ValueError(
                "`output` must be new, or a directory of this training. Give "
                "another one, or what it was begun with. Received: "
                f"output={output!r}, begun with other {', '.join(others)}"
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
            **types: types of its entries, as `read_object` takes them.
        """
        if not self.has(name):
            made = make()
            os.makedirs(self.directory, exist_ok=True)
            write_json(self.path(TRAINING_FILE), self._about)
            write_json(self.path(name), made)
        return read_object(self.path(name), **types)

    @contextlib.contextmanager
    def claimed(self):
        """Keeps other trainings away, until its end or that of the process.

        Something must have been kept by `once`.
        """
        with claimed(self.directory) as is_alone:
            if not is_alone:
                raise ValueError(
                    "`output` is being written by another training: wait for "
                    "its end, or give another one. Received: "
                    f"output={self.output!r}"
                )
            yield

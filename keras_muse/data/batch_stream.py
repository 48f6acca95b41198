"""`BatchStream`: an endless stream of batches, cut in epochs for Keras."""

import contextlib
import multiprocessing
import signal

import keras

from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int

# What Keras calls the processes that load data.
WORKER = "Keras_worker"


class BatchStream(keras.utils.PyDataset):
    """Batches that have a number, in an order of their own.

    Batch number `step` of the stream is a pure function of the stream's
    arguments and of `step`. A Keras epoch takes the next `len(stream)` of
    them; how far loaders read ahead changes nothing.

    To go on where a training was stopped is to set `step` to the number of
    steps it did. `keras_muse.training.Checkpoint` does so by itself, and ends
    the epoch, too, where it would have ended.

    A model of another package that is validated on the stream that it is
    trained on must be given a copy for it, `copy.copy(stream)`: Keras does not
    tell a stream which of the two it is read for. Ours take one by themselves.

    Args:
        steps_per_epoch: int. Batches an epoch.
        **kwargs: arguments of `keras.utils.PyDataset`.

    Attributes:
        step: int. The number of the batch that `stream[0]` is.
        steps_per_epoch: int.
        shuffle: bool or `None`. Whether the rows are in a new order in every
            epoch. `None` is what `fit` of our models says, by default yes, and
            else no.
    """

    shuffle = None
    _fit_shuffles = False
    _process = 0, 1  # whose part of each batch it gives, of how many

    def __init__(self, steps_per_epoch, **kwargs):
        super().__init__(**_checked(**kwargs))
        self.steps_per_epoch = steps_per_epoch
        self.step = 0

    @property
    def step(self):
        return self._step

    @step.setter
    def step(self, step):
        self.resume(step)

    def resume(self, step, epoch_length=None):
        """Goes on at any step.

        Args:
            step: int. The number of the next batch.
            epoch_length: int. Batches of the next epoch, if it was begun
                before. Defaults to `steps_per_epoch`.
        """
        self._step = check_int(step, "step", low=0)
        self._epoch_length = epoch_length
        self._is_running = False
        self._num_seen = 0

    @property
    def is_shuffled(self):
        """bool. Whether, as things are now, the rows are in new orders."""
        return self._fit_shuffles if self.shuffle is None else self.shuffle

    @contextlib.contextmanager
    def in_training(self, shuffle=None, steps_per_epoch=None):
        """A scope in which the stream is what a `fit` wants.

        Args:
            shuffle: bool or `None`. What `fit` was told; `None` for nothing.
            steps_per_epoch: int or `None`. The same.

        Raises:
            ValueError: if the stream was made with another `shuffle`.
        """
        if None not in (shuffle, self.shuffle) and shuffle != self.shuffle:
            raise ValueError(
                "`shuffle` of `fit` must be that of the dataset, which has an "
                "order of its own: change it where the dataset is read, or "
                f"leave it away in `fit`. Received: shuffle={shuffle!r}, and a "
                f"dataset with shuffle={self.shuffle}"
            )
        before = self.steps_per_epoch
        if steps_per_epoch is not None:
            self.steps_per_epoch = check_int(steps_per_epoch, "steps_per_epoch")
        self._fit_shuffles = shuffle is None or bool(shuffle)
        # Keras counts whole epochs, also if the last `fit` was broken off.
        self.resume(self.step)
        try:
            yield
        finally:
            self._fit_shuffles = False
            self.steps_per_epoch = before

    @property
    def is_shared(self):
        """bool. Whether, as things are now, it gives a part of each batch."""
        return self._process[1] > 1

    def shared(self):
        """A scope in which each process of a job gets its part of a batch.

        By itself a stream gives all processes the same.
        """
        return contextlib.nullcontext()

    def batch(self, step):
        """Batch number `step` of the stream."""
        raise NotImplementedError

    @property
    def identity(self):
        """dict, as JSON knows it. What the batches depend on."""
        raise NotImplementedError

    def __len__(self):
        return self._epoch_length or self.steps_per_epoch

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(
                f"There are {len(self)} batches. Received: index={index}"
            )
        _leave_interrupts_to_the_trainer()
        self._num_seen = max(self._num_seen, index + 1)
        return self.batch(self.step + index)

    def on_epoch_begin(self):
        self._is_running = True
        self._num_seen = 0

    def on_epoch_end(self):
        # Keras also ends epochs that it did not begin, and some that it only
        # peeked into to learn shapes. Other processes' batches go unseen.
        is_whole = self._num_seen in (0, len(self))
        if self._is_running and is_whole:
            self.step += len(self)
        self._is_running = False


def share_of(rows, process):
    """The part of a batch that a process reads.

    All read the same global batch, so that their number changes nothing in a
    training.

    Args:
        rows: sequence, the rows of the whole batch.
        process: pair of ints, the number of the process and how many there
            are.
    """
    index, count = process
    share = -(-len(rows) // count)
    return rows[index * share : (index + 1) * share]


def _checked(workers=1, use_multiprocessing=False, max_queue_size=10, **others):
    """How batches are loaded, in Keras' words, which checks nothing itself."""
    if others:
        raise ValueError(
            "A dataset takes `workers`, `use_multiprocessing` and "
            f"`max_queue_size` beside its own arguments. Received: {others}"
        )
    return {
        "workers": check_int(workers, "workers", low=0),
        "use_multiprocessing": check_bool(
            use_multiprocessing, "use_multiprocessing"
        ),
        "max_queue_size": check_int(max_queue_size, "max_queue_size"),
    }


def _leave_interrupts_to_the_trainer():
    """Lets Ctrl-C pass by a process that loads data for another one.

    A terminal sends it to all of them. Workers that it ended would leave
    their pool waiting for them, and the program could not end.
    """
    if multiprocessing.current_process().name.startswith(WORKER):
        signal.signal(signal.SIGINT, signal.SIG_IGN)

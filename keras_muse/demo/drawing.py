"""The work behind the buttons: one picture after the other, seen as it grows.

All drawing is done by one thread, whoever asks: two pictures at once would
take twice the memory, and no less time.
"""

import concurrent.futures
import contextlib
import dataclasses
import queue
import threading
import time

import numpy as np

from keras_muse.demo.settings import BATCH_SIZE
from keras_muse.demo.settings import within_limits
from keras_muse.muse import draw_options
from keras_muse.muse import parameters
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.samplers.seeds import NUM_SEEDS

# Of the time of a picture, what may go into showing it unfinished.
SHARE = 0.15


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A picture that is being drawn.

    Attributes:
        image: uint8 array of shape `(height, width, 3)`, grey where nothing
            is decided.
        stage: `"base"` or `"super_res"`.
        step: int, the steps of the stage that are done.
    """

    image: np.ndarray
    stage: str
    step: int


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A picture that is finished.

    Attributes:
        image: uint8 array of shape `(height, width, 3)`.
        made: dict, how it was drawn, as `keras_muse.read_parameters` gives it.
    """

    image: np.ndarray
    made: dict


class _Stopped(Exception):
    """Nobody waits for the picture any more."""


class Artist:
    """Draws with a `Muse`, one picture at a time.

    Args:
        muse: a `keras_muse.Muse`.
        preset: string, what it was loaded from.
    """

    def __init__(self, muse, preset):
        self.muse = muse
        self.preset = preset
        # What holds where nobody says otherwise.
        self.own = within_limits(DrawOptions.of(muse.generation_defaults))
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "drawing")
        self._prepared = {}
        self._costs = {}  # seconds of an unfinished picture, by its stage
        self._is_closed = threading.Event()

    @property
    def image_size(self):
        """Height and width of the pictures it draws."""
        return self.muse.cascade.image_size

    @property
    def grid_size(self):
        """Tokens of the base, the coarser ones."""
        return self.muse.base.grid_size

    def cut(self, **texts):
        """Names of the texts of which the model does not read the end."""
        is_cut = self.muse.text_encoder.is_cut(list(texts.values()))
        return [name for name, cut in zip(texts, is_cut, strict=True) if cut]

    # === Drawing ===

    def draw(self, prompts, negative_prompt, seeds, options):
        """Draws pictures of prompts.

        Args:
            prompts: list of strings, one per picture.
            negative_prompt: string; an empty one is none.
            seeds: list of ints, one per picture.
            options: dict, arguments of `Muse.generate` that a preset can keep.

        Yields:
            `Unfinished`, now and then, and `Drawn`, one per prompt.
        """
        used = DrawOptions.of(self.muse.generation_defaults, **options)
        for prompt, seed in zip(prompts, seeds, strict=True):
            yield from self._draw(
                ("generate", used, seed),
                (prompt, negative_prompt),
                options,
            )

    def edit(
        self,
        task,
        picture,
        prompt,
        negative_prompt,
        seed,
        options,
        arguments=None,
        **described,
    ):
        """Draws on a picture.

        Args:
            task: `"inpaint"`, `"outpaint"` or `"edit"`, the method of `Muse`.
            picture: uint8 array of shape `(height, width, 3)`.
            prompt, negative_prompt: strings.
            seed: int.
            options: dict, arguments of the method that are options.
            arguments: dict or `None`, those that no other method has.
            **described: arguments of that kind that the new picture shall
                remember.

        Yields:
            `Unfinished`, now and then, and one `Drawn`.
        """
        used = draw_options.of_task(
            self.muse, task, self.muse.generation_defaults, options
        )
        yield from self._draw(
            (task, used, seed),
            (prompt, negative_prompt),
            {"images": picture, **options, **(arguments or {}), **described},
            **described,
        )

    def _draw(self, how, texts, arguments, **described):
        task, used, seed = how
        prompt, negative_prompt = texts

        def work(callback):
            return getattr(self.muse, task)(
                prompts=prompt,
                negative_prompts=negative_prompt or None,
                seed=[seed],
                callback=callback,
                verbose=0,
                **arguments,
            )

        (image,) = yield from self._watched(work)
        (made,) = parameters.describe(
            self.muse,
            [prompt],
            negative_prompt or None,
            seeds=[seed],
            preset=self.preset,
            options=used,
            task=task,
            **described,
        )
        yield Drawn(image, made)

    def _watched(self, work):
        """Yields what is seen of work in the other thread; returns its result.

        Whoever lets go of the generator stops the work at its next step.
        """
        seen, is_left = queue.SimpleQueue(), threading.Event()
        pace = _Pace(self._costs)

        def callback(stage, step, start, token_ids):
            if is_left.is_set() or self._is_closed.is_set():
                raise _Stopped
            if pace.is_due(stage):
                with pace.taken(stage):
                    (image,) = self.muse.preview(stage, token_ids)
                seen.put(Unfinished(image, stage, step + 1))

        def run():
            try:
                pace.begin()
                return work(callback)
            finally:
                seen.put(None)

        future = self._thread.submit(run)
        future.add_done_callback(lambda _: seen.put(None))  # cancelled
        try:
            while (one := seen.get()) is not None:
                yield one
            return future.result()
        finally:
            is_left.set()
            future.cancel()

    # === Before and after ===

    def prepare(self, task="generate"):
        """Compiles in the background what a task needs; once.

        Returns:
            `concurrent.futures.Future`. Done when it is ready.
        """
        if task not in self._prepared:
            work = getattr(self, f"_try_{task}")
            self._prepared[task] = self._thread.submit(work)
        return self._prepared[task]

    def is_ready(self, task="generate"):
        """Whether nothing is left to be compiled for a task."""
        return task in self._prepared and self._prepared[task].done()

    def close(self):
        """Ends what is being drawn, and draws no more."""
        self._is_closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _try_generate(self):
        self.muse.generate("a", callback=self._show, **self._least())

    def _try_inpaint(self):
        height, width = self.image_size
        picture = np.zeros((height, width, 3), "uint8")
        mask = np.ones((height, width), "bool")
        self.muse.inpaint(picture, mask, "a", **self._least())

    _try_outpaint = _try_inpaint  # it is the same, window by window

    def _try_edit(self):
        picture = np.zeros((*self.image_size, 3), "uint8")
        least = {**self._least(), "num_rounds": 1}
        del least["num_steps"]
        self.muse.edit(picture, "a", **least)

    def _show(self, stage, step, start, token_ids):
        # That of the last stage is the program of the finished picture.
        if (stage, step) == ("base", 0):
            self.muse.preview(stage, token_ids)

    def _least(self):
        return {
            "seed": 0,
            # The first one of a ramp has no guidance: another program.
            "num_steps": 2,
            "super_res_num_steps": 2,
            "batch_size": BATCH_SIZE,
            "verbose": 0,
        }


class _Pace:
    """When the next unfinished picture may be shown, to keep to `SHARE`.

    Args:
        costs: dict of seconds by stage, of earlier pictures; it learns more.
    """

    def __init__(self, costs):
        self._costs, self._spent = costs, 0.0

    def begin(self):
        self._begin = time.perf_counter()

    def is_due(self, stage):
        """Whether there is time for one more, as far as its cost is known."""
        elapsed = time.perf_counter() - self._begin
        cost = self._costs.get(stage, 0.0)
        return self._spent + cost <= SHARE * elapsed

    @contextlib.contextmanager
    def taken(self, stage):
        """Counts the time inside as that of one picture."""
        begin = time.perf_counter()
        yield
        self._costs[stage] = time.perf_counter() - begin
        self._spent += self._costs[stage]


def following_seeds(seed, count):
    """Seeds of several pictures of one click; `None` begins anywhere."""
    if seed is None:
        seed = int(np.random.default_rng().integers(2**31))
    return [(seed + i) % NUM_SEEDS for i in range(count)]

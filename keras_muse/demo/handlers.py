"""What happens at a click: from what the page sends to what it shows."""

import contextlib
import dataclasses
import functools
import html
import inspect
import sys
import time
import traceback

import gradio as gr
import numpy as np

from keras_muse.data.decoding import resize
from keras_muse.demo import gallery
from keras_muse.demo import incoming
from keras_muse.demo import limits
from keras_muse.demo import masks
from keras_muse.demo import settings
from keras_muse.demo.drawing import Unfinished
from keras_muse.demo.drawing import following_seeds
from keras_muse.demo.settings import Settings
from keras_muse.muse import draw_options
from keras_muse.muse.draw_options import DrawOptions
from keras_muse.runtime.checks import check_guidance_scale
from keras_muse.samplers.seeds import NUM_SEEDS

GREY = 200
NUM_LATE = 8
STAGES = {"base": "Small picture", "super_res": "Large picture"}


def said(handler):
    """A handler whose errors are words on the page, which goes on."""

    @functools.wraps(handler)
    def safe(*args):
        with _in_words():
            return handler(*args)

    @functools.wraps(handler)
    def safe_generator(*args):
        with _in_words():
            yield from handler(*args)

    return safe_generator if inspect.isgeneratorfunction(handler) else safe


@contextlib.contextmanager
def _in_words():
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        if sys.flags.dev_mode:
            traceback.print_exc()
        message = " ".join(str(error).split())
        if not isinstance(error, ValueError | OSError):
            message = f"{type(error).__name__}: {message}"
        # The page takes it for HTML.
        message = html.escape(message)
        raise gr.Error(message, print_exception=False) from None


class Handlers:
    """The functions that the page calls, of one model.

    Args:
        artist: a `drawing.Artist`.
        folder: string. Where pictures are kept.
    """

    def __init__(self, artist, folder):
        self.artist = artist
        self.folder = folder

    # === Drawing ===

    @said
    def draw(self, session, prompt, negative, count, seed, is_new, *shown):
        prompt = limits.check_prompt(prompt)
        negative = limits.check_prompt(negative, "negative prompt", False)
        count = limits.check_whole(count, "pictures", 1, limits.MAX_IMAGES)
        seeds = following_seeds(_seed(seed, is_new), count)
        options = self._options(session, shown)
        updates = self.artist.draw([prompt] * count, negative, seeds, options)
        texts = prompt, negative
        yield from self._show(session, updates, seeds[0], "generate", texts)

    @said
    def repaint(
        self, session, prompt, negative, layer, blends, seed, is_new, *shown
    ):
        picture = self._fitting(session)
        mask = self._mask(layer)
        if not mask.any():
            raise ValueError(
                "Paint over what is to be drawn anew: nothing is painted yet."
            )
        yield from self._edit(
            session,
            "inpaint",
            picture,
            (prompt, negative),
            _seed(seed, is_new),
            self._options(session, shown),
            {"masks": mask},
            **self._blending(blends),
        )

    @said
    def extend(
        self,
        session,
        prompt,
        negative,
        top,
        bottom,
        left,
        right,
        blends,
        seed,
        is_new,
        *shown,
    ):
        picture = _picture(session)
        padding = self._padding(picture, (top, bottom, left, right))
        if not any(padding):
            raise ValueError("Choose how far to draw on: all sides are 0.")
        yield from self._edit(
            session,
            "outpaint",
            picture,
            (prompt, negative),
            _seed(seed, is_new),
            self._options(session, shown),
            padding=padding,
            **self._blending(blends),
        )

    @said
    def change(
        self, session, prompt, negative, num_rounds, guidance, seed, is_new
    ):
        num_rounds = limits.check_whole(
            num_rounds, "rounds", 1, limits.MAX_ROUNDS
        )
        options = {
            "num_rounds": num_rounds,
            "guidance_scale": check_guidance_scale(guidance, "guidance"),
            "batch_size": settings.BATCH_SIZE,
        }
        yield from self._edit(
            session,
            "edit",
            self._fitting(session),
            (prompt, negative),
            _seed(seed, is_new),
            options,
        )

    def _edit(
        self,
        session,
        task,
        picture,
        texts,
        seed,
        options,
        arguments=None,
        **described,
    ):
        prompt = limits.check_prompt(texts[0])
        negative = limits.check_prompt(texts[1], "negative prompt", False)
        (seed,) = following_seeds(seed, 1)
        updates = self.artist.edit(
            task,
            picture,
            prompt,
            negative,
            seed,
            options,
            arguments,
            **described,
        )
        texts = prompt, negative
        yield from self._show(session, updates, seed, task, texts)

    def _show(self, session, updates, seed, task, texts):
        """Yields the picture, the words, the gallery, the seed, the session."""
        nothing = gr.skip()
        lost = self._lost(session, task, texts)
        begin = time.perf_counter()
        # The browser has seen them by now, but for the last.
        gallery.remove(session.unfinished[:-NUM_LATE])
        del session.unfinished[:-NUM_LATE]
        place = session.place(self.folder)
        if not self.artist.is_ready(task):
            self.artist.prepare(task)
            words = "Getting ready: programs are compiled, this once …"
            yield nothing, words, nothing, nothing, nothing
        for update in updates:
            if isinstance(update, Unfinished):
                path = gallery.keep_unfinished(update, self.folder)
                session.unfinished.append(path)
                words = f"{STAGES[update.stage]}, step {update.step} …"
                yield path, words, nothing, nothing, nothing
                continue
            kept = gallery.keep(session.gallery, update, place)
            session.gallery, session.picture = kept, update.image
            seconds = time.perf_counter() - begin
            words = f"Seed {update.made['seed']} · {seconds:.1f} s{lost}"
            begin = time.perf_counter()
            yield kept[0].path, words, _shown(kept), seed, session

    def _lost(self, session, task, texts):
        """Sentences on what is given, and not drawn on."""
        # A model reads so many tokens, which are fewer than the page takes.
        cut = self.artist.cut(prompt=texts[0], negative_prompt=texts[1])
        lost = [
            f"The {name.replace('_', ' ')} is too long: its end is not read."
            for name in cut
        ]
        # One that was extended, for example.
        height, width = self.artist.image_size
        is_fitted = task in ("inpaint", "edit")
        if is_fitted and session.picture.shape[:2] != (height, width):
            lost.append(
                f"The picture was scaled and cut to {width} × {height} pixels "
                "first."
            )
        return "".join(f" · {sentence}" for sentence in lost)

    # === Pictures that come back ===

    @said
    def recall(self, session, event: gr.SelectData):
        """The settings of a picture of the gallery, and the picture."""
        if not session.gallery:  # the session made room for another
            raise ValueError("This picture is no longer kept.")
        number = limits.check_whole(
            event.index, "picture", 0, len(session.gallery) - 1
        )
        kept = session.gallery[number]
        session.picture = incoming.read_picture(kept.path)
        words, restored = self._restored(session, kept.made)
        return kept.path, words, session, *restored

    @said
    def take(self, session, path):
        """A picture that was dropped, and its settings, if it has any."""
        session.picture = incoming.read_picture(path, self.artist.image_size)
        made, lack = incoming.read_made(path)
        if lack:
            gr.Warning(html.escape(lack))
        words, restored = self._restored(session, made)
        return session.picture, words, session, *restored, None

    def _restored(self, session, made):
        """Words, and values of the controls in their order on the page."""
        session.own = None  # those of the picture before
        if made is None:
            return "A picture to draw on, without settings.", [gr.skip()] * 10
        shown, rounds = [gr.skip()] * 4, [gr.skip()] * 2
        own = settings.recalled(made)
        if own is not None:
            session.own = own = settings.within_limits(own)
            shown = dataclasses.astuple(Settings.of(own))
        elif made["task"] == "edit":  # drawn in rounds
            rounds = [
                min(made["num_steps"], limits.MAX_ROUNDS),
                min(made["guidance_scale"], limits.MAX_GUIDANCE),
            ]
            own = self._of_rounds(*rounds)
        words = self._words(made, own)
        texts = made["prompt"], made.get("negative_prompt") or ""
        return words, [*texts, made["seed"], False, *shown, *rounds]

    def _of_rounds(self, num_rounds, guidance_scale):
        """With what the page changes a picture."""
        muse = self.artist.muse
        given = {"num_rounds": num_rounds, "guidance_scale": guidance_scale}
        return draw_options.of_task(
            muse, "edit", muse.generation_defaults, given
        )

    def _words(self, made, own):
        """What is restored of a picture, and what is not.

        Args:
            made: dict, how it was drawn.
            own: `DrawOptions` that a click draws with now, or `None` if they
                have nothing of the picture.
        """
        # Nothing of what a file says is put in these words: they are Markdown,
        # in which a picture of another machine could be.
        words = f"Seed {made['seed']}: its settings are restored"
        if own is None:
            words = f"Seed {made['seed']}: its words are restored, no settings"
        lost = self._not_restored(made, own)
        words += f", but for {', '.join(lost)}." if lost else "."
        if unseen := [x for x in self._unseen(made, own) if x not in lost]:
            words += f" With what the page does not show: {', '.join(unseen)}."
        if made["task"] != "generate":
            words += " It was drawn on another picture, which it does not hold."
        if made["preset"] != self.artist.preset:
            words += " It is by another model: here it comes out otherwise."
        return words

    def _not_restored(self, made, own):
        """Names of what is drawn otherwise than the picture was."""
        if own is None:
            return []
        lost = settings.differing(made, own)
        if made.get("padding"):
            lost.append("padding")
        width = made.get("blend_width")
        if width and self._blending(True) != {"blend_width": width}:
            lost.append("blend width")
        return lost

    def _unseen(self, made, own):
        """Names of what is the picture's, and would else be the model's."""
        if own is None or made["task"] == "edit":
            return []
        options = Settings.of(own).options(self.artist.own)
        return settings.differing(made, DrawOptions.of(options))

    # === Before an edit ===

    @said
    def open_editor(self, session):
        """The picture to paint on; programs are compiled meanwhile."""
        self.artist.prepare("inpaint")
        if session.picture is None:
            return None, None
        picture = self._fitting(session)
        canvas = masks.enlarged(picture, masks.scale_of(picture.shape))
        value = {"background": canvas, "layers": [], "composite": canvas}
        return value, None

    @said
    def show_cells(self, session, layer):
        """What a mask touches."""
        if session.picture is None:
            return None
        mask = self._mask(layer)
        if not mask.any():
            return None
        picture = self._fitting(session)
        return masks.show_cells(picture, mask, self.artist.grid_size)

    @said
    def show_canvas(self, session, *padding):
        """The picture on the canvas that is to be filled."""
        if session.picture is None:
            return None
        top, bottom, left, right = self._padding(session.picture, padding)
        sides = ((top, bottom), (left, right), (0, 0))
        return np.pad(session.picture, sides, constant_values=GREY)

    # === What is asked for, checked ===

    def _options(self, session, shown):
        return Settings(*shown).options(session.own or self.artist.own)

    def _fitting(self, session):
        """The picture at the size that the model draws."""
        return resize(_picture(session)[None], self.artist.image_size)[0]

    def _mask(self, layer):
        return masks.mask_of_layer(layer, self.artist.image_size)

    def _padding(self, picture, padding):
        padding = [
            limits.check_whole(pixels, name, 0, limits.MAX_PADDING)
            for pixels, name in zip(
                padding, ("top", "bottom", "left", "right"), strict=True
            )
        ]
        height = picture.shape[0] + padding[0] + padding[1]
        width = picture.shape[1] + padding[2] + padding[3]
        if max(height, width) > limits.MAX_SIDE:
            raise ValueError(
                f"The canvas must be of at most {limits.MAX_SIDE} pixels a "
                f"side. Received: {width} x {height}"
            )
        return padding

    def _blending(self, blends):
        if not blends:
            return {}
        *_, last = self.artist.muse.cascade.stages.values()
        return {"blend_width": last.tokenizer.downsampling_factor}


def _picture(session):
    if session.picture is None:
        raise ValueError("Draw a picture first, or drop one.")
    return session.picture


def _seed(seed, is_new):
    """The seed to begin with, or `None` for a new one."""
    if is_new or seed is None:
        return None
    return limits.check_whole(seed, "seed", 0, NUM_SEEDS - 1)


def _shown(kept):
    return [(one.path, one.caption) for one in kept]

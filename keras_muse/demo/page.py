"""The page: what is on it, and which click calls what."""

import pathlib
import types

import gradio as gr
from gradio.components.base import server
from starlette.exceptions import HTTPException

from keras_muse.demo import gallery
from keras_muse.demo import limits
from keras_muse.demo.handlers import Handlers
from keras_muse.demo.layout import lay_out
from keras_muse.demo.tidy import Newest

# Of what is quick.
QUIET = {"show_progress": "hidden", "api_visibility": "undocumented"}


def build(artist, folder):
    """The page of a model.

    Args:
        artist: a `drawing.Artist`.
        folder: string. Where its pictures are kept.

    Returns:
        `gradio.Blocks`, to be launched.
    """
    handlers = Handlers(artist, folder)
    with gr.Blocks(title="Muse", analytics_enabled=False) as page:
        parts = types.SimpleNamespace(session=gr.State(gallery.Session()))
        lay_out(parts, artist)
        _connect(parts, handlers)
    _keep_to_paint(parts.editor)
    _keep_local(page)
    return page


def _keep_to_paint(editor):
    """Lets the editor hand on its one layer of paint, as it came, or `None`.

    A browser also sends the picture below and both in one, which the page
    knows. gradio would open all that comes, also with another program.
    """
    # What is sent at each stroke, and mostly not come back for.
    layers = Newest(limits.MAX_SESSIONS)

    @server
    def accept_blobs(given):
        if (given.data["type"], given.data["index"]) != ("layer", "0"):
            return
        ((_, layer),) = given.files
        if len(layer) > limits.MAX_PAINT:
            raise HTTPException(413, f"More than {limits.MAX_PAINT} bytes.")
        layers[given.data["id"]] = layer

    def preprocess(payload):
        if payload is None:
            return None
        if payload.id is not None:
            return layers.pop(payload.id, None)
        if len(payload.layers) > 1:
            raise gr.Error("A mask is of one layer.", print_exception=False)
        for file in payload.layers:
            return pathlib.Path(file.path).read_bytes()
        return None

    editor.accept_blobs = accept_blobs
    editor.preprocess = preprocess


def _keep_local(page):
    """Lets a page fetch nothing that a browser names.

    It is asked of the page, not of its parts: gradio makes a part anew for
    each session in which it was changed.
    """
    preprocess = page.preprocess_data

    async def preprocess_local(block_fn, inputs, *args, **kwargs):
        _check_local(inputs)
        return await preprocess(block_fn, inputs, *args, **kwargs)

    page.preprocess_data = preprocess_local


def _check_local(given):
    if isinstance(given, dict):
        if "://" in str(given.get("path")):
            raise gr.Error(
                "A picture must come as a file, not as an address.",
                print_exception=False,
            )
        given = list(given.values())
    if isinstance(given, list):
        for part in given:
            _check_local(part)


# === What it does ===


def _connect(parts, handlers):
    drawing = _connect_drawing(parts, handlers)
    # Said by the browser itself, for the line to the server is cut; and a bit
    # later, after what is still on its way.
    parts.stop.click(
        None,
        None,
        parts.words,
        js="() => new Promise(said => setTimeout(said, 500, 'Stopped.'))",
        cancels=drawing,
        **QUIET,
    )
    parts.examples.click(
        lambda sample: sample[0], parts.examples, parts.prompt, **QUIET
    )
    _connect_pictures(parts, handlers)
    _connect_editing(parts, handlers)


def _connect_drawing(parts, handlers):
    """Connects the buttons that draw; returns their events."""
    texts = [parts.session, parts.prompt, parts.negative]
    seeds = [parts.seed, parts.is_new]
    shown = [parts.steps, parts.guidance, parts.sampler, parts.temperature]
    events = []
    for triggers, handler, inputs in (
        (
            [parts.prompt.submit, parts.draw.click],
            handlers.draw,
            [parts.count, *seeds, *shown],
        ),
        (
            [parts.repaint.click],
            handlers.repaint,
            [parts.editor, parts.blends, *seeds, *shown],
        ),
        (
            [parts.extend.click],
            handlers.extend,
            [*parts.sides, parts.blends_canvas, *seeds, *shown],
        ),
        (
            [parts.change.click],
            handlers.change,
            [parts.rounds, parts.edit_guidance, *seeds],
        ),
    ):
        gr.on(triggers, _to_picture, None, parts.tabs, **QUIET)
        event = gr.on(
            triggers,
            handler,
            [*texts, *inputs],
            [
                parts.image,
                parts.words,
                parts.gallery,
                parts.seed,
                parts.session,
            ],
            # Two pictures at once would take no less time.
            concurrency_id="drawing",
            concurrency_limit=1,
            # Each click has its picture.
            trigger_mode="multiple",
            show_progress="minimal",
            show_progress_on=parts.words,
            api_visibility="undocumented",
        )
        events.append(event)
    return events


def _connect_pictures(parts, handlers):
    """Connects what brings a picture back."""
    restored = [
        parts.image,
        parts.words,
        parts.session,
        parts.prompt,
        parts.negative,
        parts.seed,
        parts.is_new,
        parts.steps,
        parts.guidance,
        parts.sampler,
        parts.temperature,
        parts.rounds,
        parts.edit_guidance,
    ]
    for trigger, handler, inputs, outputs in (
        (parts.gallery.select, handlers.recall, [], restored),
        # The place is free for the next one.
        (
            parts.file.upload,
            handlers.take,
            [parts.file],
            [*restored, parts.file],
        ),
    ):
        trigger(_to_picture, None, parts.tabs, **QUIET)
        trigger(handler, [parts.session, *inputs], outputs, **QUIET)


def _connect_editing(parts, handlers):
    """Connects what is seen before an edit."""
    parts.repaint_tab.select(
        handlers.open_editor,
        parts.session,
        [parts.editor, parts.cells],
        **QUIET,
    )
    # `change` alone tells nothing of what is painted.
    parts.editor.input(
        handlers.show_cells,
        [parts.session, parts.editor],
        parts.cells,
        trigger_mode="always_last",
        **QUIET,
    )
    gr.on(
        [parts.extend_tab.select, *[side.change for side in parts.sides]],
        handlers.show_canvas,
        [parts.session, *parts.sides],
        parts.canvas,
        trigger_mode="always_last",
        **QUIET,
    )


def _to_picture():
    return gr.Tabs(selected="picture")

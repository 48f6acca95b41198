"""The page: what is on it, and which click calls what."""

import types

import gradio as gr

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
        parts = types.SimpleNamespace(
            session=gr.State(
                gallery.Session(), delete_callback=gallery.Session.forget
            )
        )
        lay_out(parts, artist)
        _connect(parts, handlers)
    # What a browser sends at each stroke, and mostly does not come back for.
    parts.editor.blob_storage = Newest(limits.MAX_SESSIONS)
    for block in page.blocks.values():
        _keep_local(block)
    return page


def _keep_local(block):
    """Lets a part of the page fetch nothing that a browser names."""
    move = block.async_move_resource_to_block_cache

    async def move_file(path):
        if path is not None and "://" in str(path):
            raise gr.Error(
                "A picture must come as a file, not as an address.",
                print_exception=False,
            )
        return await move(path)

    block.async_move_resource_to_block_cache = move_file


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

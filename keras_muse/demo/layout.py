"""What is on the page, and with which values it begins."""

import html

import gradio as gr

from keras_muse.demo import limits
from keras_muse.demo import masks
from keras_muse.demo.settings import Settings
from keras_muse.muse.draw_options import defaults_of_edit
from keras_muse.samplers.registry import DRAWING

EXAMPLES = [
    "a red apple, noto style",
    "a sleeping cat, twemoji style",
    "a blue butterfly, fluent 3d style",
    "a green heart, fluent flat style",
]
SIDES = ("top", "bottom", "left", "right")
PAINT = "#{:02x}{:02x}{:02x}".format(*masks.TINT)
WELCOME = (
    "Pictures of this session appear below; a click brings one back, with its "
    "settings."
)
BRUSH = 20  # pixels of the canvas


def lay_out(parts, artist):
    """Puts the parts of the page in their places.

    Args:
        parts: a namespace, which is given an attribute for each part.
        artist: a `drawing.Artist`.
    """
    gr.HTML(f"<h1>Muse</h1><p>{_say(artist)}</p>", elem_id="heading")
    with gr.Row(elem_id="halves"):
        with gr.Column(scale=4, min_width=300):
            _controls(parts, artist)
        with gr.Column(scale=5, min_width=300):
            _pictures(parts, artist)


def _say(artist):
    height, width = artist.image_size
    name = html.escape(artist.preset)
    return f"Pictures from words, {width} × {height} pixels, by {name}"


def _controls(parts, artist):
    parts.prompt = gr.Textbox(
        label="Prompt",
        placeholder="What should be drawn?",
        max_length=limits.MAX_CHARACTERS,
        lines=1,
        max_lines=4,
        autofocus=True,
        elem_id="prompt",
    )
    with gr.Row():
        parts.draw = gr.Button(
            "Draw", variant="primary", scale=3, elem_id="draw"
        )
        parts.stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop")
    parts.examples = gr.Dataset(
        components=["textbox"],
        samples=[[prompt] for prompt in EXAMPLES],
        label="For example",
        elem_id="examples",
    )
    with gr.Row():
        parts.count = gr.Slider(
            1,
            limits.MAX_IMAGES,
            1,
            step=1,
            label="Pictures",
            min_width=120,
            elem_id="count",
        )
        parts.seed = gr.Number(
            0, label="Seed", precision=0, min_width=120, elem_id="seed"
        )
    parts.is_new = gr.Checkbox(
        True, label="A new seed each time", elem_id="is_new"
    )
    with gr.Accordion("Advanced", open=False):
        _advanced(parts, Settings.of(artist.own))
    parts.file = gr.File(
        label="A picture of yours; a PNG of this page restores its settings",
        file_types=["image"],
        height=110,
        elem_id="file",
    )


def _advanced(parts, shown):
    parts.negative = gr.Textbox(
        label="Negative prompt",
        info="What to lead away from",
        max_length=limits.MAX_CHARACTERS,
        elem_id="negative",
    )
    parts.steps = gr.Slider(
        1, limits.MAX_STEPS, shown.num_steps, step=1, label="Steps"
    )
    parts.guidance = gr.Slider(
        0,
        limits.MAX_GUIDANCE,
        shown.guidance_scale,
        step=0.1,
        label="Guidance",
        info="How strongly the prompt is followed; 1 is none",
    )
    parts.sampler = gr.Dropdown(
        list(DRAWING),
        value=shown.sampler,
        label="Sampler",
        info="In which order the picture is decided",
    )
    parts.temperature = gr.Slider(
        limits.MIN_TEMPERATURE,
        limits.MAX_TEMPERATURE,
        shown.temperature,
        step=0.05,
        label="Temperature",
        info="Lower is surer, higher more varied",
    )


def _pictures(parts, artist):
    with gr.Tabs() as parts.tabs:
        with gr.Tab("Picture", id="picture"):
            parts.image = _image("picture", 400, ["download", "fullscreen"])
        with gr.Tab("Repaint", id="repaint") as parts.repaint_tab:
            _repainting(parts, artist)
        with gr.Tab("Extend", id="extend") as parts.extend_tab:
            _extending(parts)
        with gr.Tab("Change", id="change") as parts.change_tab:
            _changing(parts, artist)
    parts.words = gr.Markdown(WELCOME, elem_id="words", container=False)
    parts.gallery = gr.Gallery(
        show_label=False,
        columns=6,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="gallery",
    )


def _repainting(parts, artist):
    gr.Markdown("Paint over what the prompt should draw anew.")
    height, width = artist.image_size
    scale = masks.scale_of(artist.image_size)
    parts.editor = gr.ImageEditor(
        show_label=False,
        type="numpy",
        image_mode="RGBA",
        sources=(),
        transforms=(),
        layers=False,
        brush=gr.Brush(BRUSH, colors=[PAINT], color_mode="fixed"),
        eraser=gr.Eraser(BRUSH),
        format="png",
        height=440,
        canvas_size=(width * scale, height * scale),
        fixed_canvas=True,
        buttons=[],
        elem_id="editor",
    )
    parts.blends = gr.Checkbox(True, label="Blend the seam")
    parts.repaint = gr.Button("Repaint", variant="primary", elem_id="repaint")
    gr.Markdown("Outlined below: the tokens that the mask touches.")
    parts.cells = _image("cells", 300)


def _extending(parts):
    gr.Markdown("How many pixels should be drawn on each side?")
    parts.canvas = _image("canvas", 320)
    parts.sides = []
    for names in (SIDES[:2], SIDES[2:]):
        with gr.Row():
            for name in names:
                parts.sides.append(
                    gr.Slider(
                        0,
                        limits.MAX_PADDING,
                        0,
                        step=8,
                        label=name.capitalize(),
                        min_width=120,
                    )
                )
    parts.blends_canvas = gr.Checkbox(True, label="Blend the seam")
    parts.extend = gr.Button("Extend", variant="primary", elem_id="extend")


def _changing(parts, artist):
    gr.Markdown(
        "Leads the picture toward the prompt, without a mask. "
        "What does not contradict the prompt tends to stay."
    )
    own = defaults_of_edit(artist.muse)
    parts.rounds = gr.Slider(
        1,
        limits.MAX_ROUNDS,
        own["num_rounds"],
        step=1,
        label="Rounds",
        info="The more, the further the picture moves, and the longer it takes",
    )
    parts.edit_guidance = gr.Slider(
        0,
        limits.MAX_GUIDANCE,
        own["guidance_scale"],
        step=0.1,
        label="Guidance",
    )
    parts.change = gr.Button("Change", variant="primary", elem_id="change")


def _image(name, height, buttons=()):
    """A picture that is shown, and not brought."""
    return gr.Image(
        show_label=False,
        format="png",
        interactive=False,
        height=height,
        buttons=list(buttons),
        elem_id=name,
    )

"""How the page looks: nothing of it comes from another machine."""

import gradio as gr
from gradio.themes.utils import fonts

CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#heading h1 { font-size: 1.5rem; margin: 0.4rem 0 0; }
#heading p { margin: 0.1rem 0 0.4rem; opacity: 0.7; }
#prompt textarea { font-size: 1.1rem; }
#words p { margin: 0; min-height: 1.5em; font-variant-numeric: tabular-nums; }
#picture img, #canvas img, #cells img {
  width: 100%; height: 100%; object-fit: contain;
}
#file .wrap { font-size: 0.85rem; line-height: 1.3; padding-top: 0.6rem; }
#file .icon-wrap { display: none; }
#words .error { display: none; }  /* a toast says it, and why */
#gallery .caption-label { display: none; }
#gallery .thumbnail-item { aspect-ratio: 1; height: auto; }
#gallery .grid-wrap { min-height: 0; max-height: none; overflow: visible; }
#gallery .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)) !important;
}
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container main { padding: 0.5rem !important; }
  #halves { flex-direction: column; }
  #halves > * { width: 100%; min-width: 0 !important; }
}
"""


def theme():
    """A quiet theme in the fonts of the machine that shows it."""
    return gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=[fonts.Font("system-ui"), fonts.Font("sans-serif")],
        font_mono=[fonts.Font("ui-monospace"), fonts.Font("monospace")],
    )

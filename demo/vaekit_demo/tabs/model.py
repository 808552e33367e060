"""The tab that says what a model is."""

from typing import Any

import gradio as gr
import pandas as pd

from vaekit_demo import about
from vaekit_demo.calls import Gallery
from vaekit_demo.engine.shown import Shown
from vaekit_demo.work import Workers

_HELP = """
**Parts.** A variational autoencoder is three distributions: the encoder and the latent make q(z|x), the prior is p(z), and the
decoder and the likelihood make p(x|z). Each part can be exchanged for any other of its kind.

**KL per dimension** is how many nats q(z|x) tells, on average, of where in that dimension the code is, beyond what the prior
knows. Dimensions with next to none are idle: the posterior is the prior there, whatever the image.
"""


def model_tab(gallery: Gallery, workers: Workers, chosen: gr.Dropdown) -> None:
    """Lay it out; it follows the choice of a model."""
    heading = gr.HTML(elem_id="vk-model-heading", apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            gr.Markdown("### Parts")
            parts = gr.HTML(elem_id="vk-parts", apply_default_css=False)
            gr.Markdown("### Measured")
            metrics = gr.HTML(elem_id="vk-metrics", apply_default_css=False)
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### KL per dimension")
            kl = gr.BarPlot(
                x="dimension",
                y="nats",
                y_lim=[0, None],
                sort="-y",
                height=260,
                show_label=False,
                elem_id="vk-kl",
                buttons=[],
            )
            note = gr.Markdown(elem_classes="vk-quiet")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            code = gr.Code(language="python", label="In Python", interactive=False, show_line_numbers=False, elem_id="vk-code")
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### Plugins")
            plugins = gr.HTML(elem_id="vk-plugins", apply_default_css=False)
    with gr.Accordion("What am I seeing?", open=False):
        gr.Markdown(_HELP)

    async def told(key: str) -> list[Any]:
        shown = gallery[key]
        await workers.survey(shown)
        return await workers.run(_told, shown, quick=True)

    shows = [heading, parts, metrics, kl, note, code, plugins]
    how: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    page = gr.context.Context.root_block
    assert page is not None  # this is called while it is laid out
    gr.on([page.load, chosen.change], told, chosen, shows, **how)


def _told(shown: Shown) -> list[Any]:
    survey = shown.survey
    order = survey.order[:_MOST_BARS] if survey.kl is not None else []
    values = [] if survey.kl is None else [float(survey.kl[i]) for i in order]
    table = pd.DataFrame({"dimension": [f"z{i}" for i in order], "nats": values})
    return [
        about.heading(shown),
        about.architecture(shown),
        about.metrics(shown),
        gr.BarPlot(table, visible=bool(values)),
        about.kl_note(shown),
        about.loading(shown),
        about.plugins(shown),
    ]


_MOST_BARS = 64

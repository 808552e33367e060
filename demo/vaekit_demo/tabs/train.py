"""The tab where a model is trained while one watches; on this machine's own address only."""

import base64
import itertools
import threading
from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from vaekit import registry
from vaekit_demo.asked import whole
from vaekit_demo.calls import Gallery
from vaekit_demo.engine.pictures import png, tiled
from vaekit_demo.engine.teaching import Lesson, Progress, teach
from vaekit_demo.work import spoken

_HELP = """
The bundled digits are 1,797 handwritten ones of 8 × 8 pixels, black and white, drawn anew from their greys each time they are
seen. The loss is the negative ELBO in nats per example: **reconstruction**, how badly the decoder scores x at codes of x, and
**KL**, how far those codes are from the prior. A higher β presses the KL down: the codes say less, and the reconstructions get
worse.

The samples are decoded from the same codes after each epoch: what changes is the decoder, not the draw.
"""


def train(gallery: Gallery, chosen: gr.Dropdown) -> None:
    """Lay it out; a model that was trained joins those to choose from."""
    stop = threading.Event()
    number = (i for i in itertools.count(1) if f"trained-{i}" not in gallery)
    known = gr.JSON(visible=False)
    default = Lesson()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=260):
            features = gr.Slider(1, 32, value=default.features, step=1, label="Latent dimensions", elem_id="vk-features")
            beta = gr.Slider(0, 10, value=default.beta, step=0.1, label="β, the weight of the KL", elem_id="vk-beta")
            with gr.Row():
                encoder = gr.Dropdown(_names("encoder"), value=default.encoder, label="Encoder", min_width=110)
                decoder = gr.Dropdown(_names("decoder"), value=default.decoder, label="Decoder", min_width=110)
            epochs = gr.Slider(1, 300, value=default.epochs, step=1, label="Epochs", elem_id="vk-epochs")
            with gr.Row():
                lr = gr.Number(default.lr, label="Learning rate", minimum=1e-5, maximum=0.1, step=0.001, min_width=110)
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, min_width=110)
            with gr.Row():
                begin = gr.Button("Train", variant="primary", elem_id="vk-train-button", min_width=100)
                halt = gr.Button("Stop", elem_id="vk-stop-button", interactive=False, min_width=100)
            status = gr.Markdown("Press **Train**: it takes some ten seconds.", elem_id="vk-train-status")
        with gr.Column(scale=3, min_width=280):
            curves = gr.LinePlot(
                x="epoch", y="nats", color="term", height=280, show_label=False, elem_id="vk-curves", visible=False, buttons=[]
            )
            samples = gr.HTML(_EMPTY, elem_id="vk-train-samples", apply_default_css=False)
    with gr.Accordion("What am I seeing?", open=False):
        gr.Markdown(_HELP)

    def trained(*given: Any) -> Iterator[Any]:
        names = ("features", "beta", "encoder", "decoder", "epochs", "lr", "seed")
        try:
            lesson = Lesson.model_validate({name: whole(value) for name, value in zip(names, given, strict=True)})
            for progress in teach(lesson, stop, next(number)):
                if progress.over:
                    gallery.add(progress.shown)
                yield _view(progress, gallery)
        except Exception as error:
            raise gr.Error(escape(spoken(error)), print_exception=False) from None

    asks = [features, beta, encoder, decoder, epochs, lr, seed]
    shows = [status, curves, samples, begin, halt, chosen]
    how: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    (
        begin.click(trained, asks, shows, concurrency_limit=2, **how)
        .success(lambda: gallery.named, None, known, **how)
        .success(None, [known, chosen], None, js=_ADDED, **how)
    )
    halt.click(stop.set, None, None, api_visibility="private")


def _view(progress: Progress, gallery: Gallery) -> list[Any]:
    validation = [row for row in progress.rows if row["split"] == "validation"]
    if not validation:
        return ["Getting ready …", gr.skip(), "", gr.Button(interactive=False), gr.Button(interactive=True), gr.skip()]
    last, over = validation[-1], progress.over
    points = [(row["epoch"], row[term], name) for row in validation for term, name in _TERMS.items() if term in row]
    table = pd.DataFrame(points, columns=["epoch", "nats", "term"])
    z, _ = progress.shown.drawn(36, None, seed=0)
    image = base64.b64encode(png(tiled(progress.shown.show(z, None)))).decode()
    what = f"36 samples after epoch {progress.epoch}"
    verb = ("Stopped" if progress.epoch < progress.lesson.epochs else "Done") if over else "Training"
    said = (
        f"**{verb}: epoch {progress.epoch} of {progress.lesson.epochs}.** Validation: negative ELBO {last['nelbo']:.1f} = "
        f"reconstruction {last['reconstruction']:.1f} + KL {last['kl']:.1f} nats."
    )
    if over:
        said += " It is among the models at the top now: explore it."
    choices = [(shown.title, shown.key) for shown in gallery]
    choice = gr.Dropdown(choices, value=progress.shown.key, visible=True) if over else gr.skip()
    return [
        said,
        gr.LinePlot(table, visible=True),
        f'<figure class="vk-figure"><img class="vk-crisp" alt="{escape(what)}" src="data:image/png;base64,{image}"/>'
        f"<figcaption>{escape(what)}, codes always the same</figcaption></figure>",
        gr.Button(interactive=over),
        gr.Button(interactive=not over),
        choice,
    ]


_ADDED = "(models, key) => { vaekit.add(models.find((model) => model.key === key) ?? models.at(-1)); }"
_EMPTY = '<p class="vk-quiet">Curves, and samples after each epoch, appear here.</p>'
_TERMS = {"nelbo": "negative ELBO", "reconstruction": "reconstruction", "kl": "KL"}


def _names(kind: str) -> list[str]:
    return [part.name for part in registry.list(kind)]

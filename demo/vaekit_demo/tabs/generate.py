"""The tab of new examples."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from vaekit_demo.asked import MOST_SAMPLES, Samples, whole
from vaekit_demo.calls import Gallery, drawn_note
from vaekit_demo.engine.pictures import png, tiled
from vaekit_demo.engine.shown import Shown
from vaekit_demo.work import Workers, spoken

ANY = -1
_SOURCES = [("the prior, p(z)", "prior"), ("the aggregated posterior, q(z)", "posterior")]
_HELP = """
New examples: a code z is drawn, and what you see is the mean of p(x|z), or a draw where the likelihood has no mean to show. The
model never saw these.

**Seed.** The same seed gives the same examples; from the prior, in Python as well.

**Temperature** multiplies the standard deviation of the prior: below 1 the examples are safer and more alike, and at 0 they are
all the one in the middle.

**The prior** is where the model was taught to expect codes. **The aggregated posterior** is where the codes of real examples
are: they are drawn from q(z|x) of random test examples. Where those look right and draws from the prior do not, the two do not
match: the prior has mass where no training example ever was.
"""


def generate(gallery: Gallery, workers: Workers, chosen: gr.Dropdown) -> None:
    """Lay it out; it follows the choice of a model."""
    first = next(iter(gallery))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=260):
            n = gr.Slider(1, MOST_SAMPLES, value=36, step=1, label="How many", elem_id="vk-n")
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**32 - 1, elem_id="vk-seed", min_width=120)
                another = gr.Button("New seed", elem_id="vk-new-seed", min_width=100)
            temperature = gr.Slider(
                0, 2, value=1, step=0.05, label="Temperature", elem_id="vk-temperature", visible=first.has_temperature
            )
            source = gr.Radio(_SOURCES, value="prior", label="Codes from", elem_id="vk-source", visible=False)
            label = gr.Dropdown(_classes(first), value=ANY, label="Class", elem_id="vk-class", visible=first.model.conditional)
            draw = gr.Button("Generate", variant="primary", elem_id="vk-generate-button")
            why = gr.Markdown(elem_classes="vk-quiet")
        with gr.Column(scale=3, min_width=280):
            picture = gr.HTML(elem_id="vk-samples", apply_default_css=False)
            code = gr.Code(
                language="python",
                label="The same in Python",
                interactive=False,
                show_line_numbers=False,
                elem_id="vk-samples-code",
            )
    with gr.Accordion("What am I seeing?", open=False):
        gr.Markdown(_HELP)

    async def sampled(key: str, n: Any, seed: Any, temperature: Any, source: str, label: int) -> tuple[str, str]:
        try:
            await workers.survey(gallery[key])
            return await workers.run(_sampled, gallery, key, n, seed, temperature, source, label)
        except Exception as error:
            raise gr.Error(escape(spoken(error)), print_exception=False, duration=6) from None

    async def laid_out(key: str) -> list[Any]:
        shown = gallery[key]
        await workers.survey(shown)
        return [
            gr.Slider(maximum=min(MOST_SAMPLES, shown.most), value=min(36, shown.most)),
            gr.Slider(value=1, visible=shown.has_temperature),
            gr.Radio(value="prior", visible=shown.test is not None),
            gr.Dropdown(_classes(shown), value=ANY, visible=shown.model.conditional),
            _why(shown),
        ]

    asks, shows = [chosen, n, seed, temperature, source, label], [picture, code]
    how: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    gr.on([draw.click, n.change, seed.change, temperature.change, source.change, label.change], sampled, asks, shows, **how)
    another.click(None, None, seed, js="() => Math.floor(Math.random() * 4294967296)", api_visibility="private")
    chosen.change(laid_out, chosen, [n, temperature, source, label, why], **how).then(sampled, asks, shows, **how)
    page = gr.context.Context.root_block
    assert page is not None  # this is called while it is laid out
    page.load(laid_out, chosen, [n, temperature, source, label, why], **how)
    page.load(sampled, asks, shows, **how)


def _sampled(gallery: Gallery, key: str, n: Any, seed: Any, temperature: Any, source: str, label: int) -> tuple[str, str]:
    shown = gallery[key]
    y = None if label == ANY or not shown.model.conditional else label
    wanted = {"n": whole(n), "seed": whole(seed), "temperature": temperature, "source": source}
    asks = Samples.model_validate({"model": key, **wanted, "y": y})
    *_, found = shown.sampled(asks.n, asks.y, asks.seed, asks.temperature, asks.source == "posterior")
    picture = tiled(found)
    many = f"{asks.n} example{'s' if asks.n > 1 else ''}"
    what = f"{many} drawn from the {'prior' if source == 'prior' else 'aggregated posterior'}, seed {asks.seed}"
    return _image(png(picture), what, f"{shown.key}-seed{asks.seed}.png"), _code(shown, asks)


def _image(file: bytes, what: str, name: str) -> str:
    address = f"data:image/png;base64,{base64.b64encode(file).decode()}"
    return (
        f'<figure class="vk-figure"><img src="{address}" alt="{escape(what)}" class="vk-crisp"/>'
        f'<figcaption>{escape(what)} <a href="{address}" download="{escape(name)}">Save PNG</a></figcaption></figure>'
    )


def _code(shown: Shown, asks: Samples) -> str:
    if asks.source == "posterior":
        return "# model.sample draws from the prior: choose it above to see the call"
    parts = [str(asks.n)]
    if asks.y is not None:
        parts.append(f"y={shown.classes[asks.y]!r}")
    if asks.temperature != 1:
        parts.append(f"temperature={asks.temperature:g}")
    first = f"# in a terminal: {shown.origin.command}\n" if shown.origin.command else ""
    load = shown.origin.load or "latest"
    return f"{first}import vaekit\n\nmodel = vaekit.load({load!r})\nmodel.sample({', '.join(parts)}, seed={asks.seed})"


def _classes(shown: Shown) -> Sequence[tuple[str, int]]:
    return [("any", ANY), *((name, number) for number, name in enumerate(shown.classes))]


def _why(shown: Shown) -> str:
    alone = (
        "" if shown.test is not None else f"Codes come from the prior alone, since there are no test examples here. {shown.why}"
    )
    return " ".join(filter(None, [alone, drawn_note(shown)]))

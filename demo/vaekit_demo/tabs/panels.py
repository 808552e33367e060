"""The tabs whose canvases live in the browser: what they show is worked out by calls."""

from collections.abc import Callable, Coroutine
from importlib.resources import files
from typing import Any

import gradio as gr

from vaekit_demo.calls import CALLS, QUICK, Gallery, answer
from vaekit_demo.work import Full, Workers, spoken

PANELS = {"explore": "Explore", "reconstruct": "Reconstruct", "interpolate": "Interpolate", "compare": "Compare"}


def panel(name: str, gallery: Gallery, workers: Workers) -> gr.HTML:
    """The panel of that name."""
    models = gallery.named
    return gr.HTML(
        html_template='<div class="vk-panel"></div>',
        js_on_load=f'vaekit.panel("{name}", element, props, server)',
        server_functions=[_served(call, gallery, workers) for call in CALLS],
        apply_default_css=False,
        elem_id=f"vk-{name}",
        models=models,
        model=models[0]["key"],
    )


def scripts() -> str:
    """What the page's head loads the panels with."""
    return "<script>\n" + _joined(".js").replace("</script", "<\\/script") + "\n</script>"


def style() -> str:
    """How they and the page around them look."""
    return _joined(".css")


def _joined(ending: str) -> str:
    """The files of the page that end so, in the order of their names."""
    folder = files("vaekit_demo").joinpath("static")
    parts = sorted((path.name, path.read_text(encoding="utf-8")) for path in folder.iterdir() if path.name.endswith(ending))
    return "\n".join(text for _, text in parts)


def _served(name: str, gallery: Gallery, workers: Workers) -> Callable[[Any], Coroutine[Any, Any, dict[str, Any]]]:
    async def call(request: Any) -> dict[str, Any]:
        try:
            model = request.get("model") if isinstance(request, dict) else None
            if isinstance(model, str) and model in gallery:
                await workers.survey(gallery[model])
            return await workers.run(answer, gallery, name, request, quick=name in QUICK)
        except Exception as error:
            full = {"busy": True} if isinstance(error, Full) else {}
            return {**full, "error": spoken(error)}

    call.__name__ = name
    return call

"""The page: which tabs there are, in what order; what they do is elsewhere."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio import processing_utils
from gradio.utils import get_upload_folder
from huggingface_hub import constants
from starlette.middleware import Middleware

from vaekit.errors import VaekitError, short
from vaekit_demo.calls import Gallery
from vaekit_demo.endpoints import endpoints
from vaekit_demo.engine.given import MOST_BYTES
from vaekit_demo.engine.shown import Shown
from vaekit_demo.guard import Guard
from vaekit_demo.tabs.generate import generate
from vaekit_demo.tabs.model import model_tab
from vaekit_demo.tabs.panels import PANELS, panel, scripts, style
from vaekit_demo.tabs.train import train
from vaekit_demo.work import Workers, spoken

_SECONDS_KEPT = 600
"""That files for visitors are kept."""
_SESSIONS = 128
"""Whose state is kept, some 150 KB each; a call of the API is a session of its own."""
_log = logging.getLogger(__name__)
_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]


def page(gallery: Gallery, workers: Workers, teaching: bool) -> gr.Blocks:
    """Everything that is seen, and the endpoints that are not."""
    first = next(iter(gallery))
    choices = [(shown.title, shown.key) for shown in gallery]
    kept = (_SECONDS_KEPT // 2, _SECONDS_KEPT)
    blocks: gr.Blocks
    with _Page(title=f"{first.title} · vaekit", analytics_enabled=False, delete_cache=kept) as blocks:
        with gr.Row(elem_id="vk-header", equal_height=True):
            gr.HTML('<h1 class="vk-brand">vaekit<span>a latent space in your hands</span></h1>', apply_default_css=False)
            chosen = gr.Dropdown(
                choices,
                value=first.key,
                label="Model",
                visible=len(choices) > 1,
                elem_id="vk-model",
                filterable=False,
            )
        with gr.Tabs(elem_id="vk-tabs"):
            for name in ("explore", "reconstruct"):
                with gr.Tab(PANELS[name], id=name):
                    panel(name, gallery, workers)
            with gr.Tab("Generate", id="generate"):
                generate(gallery, workers, chosen)
            for name in ("interpolate", "compare"):
                with gr.Tab(PANELS[name], id=name):
                    panel(name, gallery, workers)
            with gr.Tab("Model", id="model"):
                model_tab(gallery, workers, chosen)
            if teaching:
                with gr.Tab("Train", id="train"):
                    train(gallery, chosen)
        endpoints(gallery, workers)
        chosen.change(None, chosen, None, js="(key) => { vaekit.choose(key); }", api_visibility="private")
    return blocks


@contextmanager
def serve(shown: Sequence[Shown], host: str, port: int, *, mcp: bool = False, teaching: bool = False) -> Iterator[str]:
    """Serve a page of some models; the block is given its address.

    Args:
        shown: the models, the first of which is open.
        host: the address to listen on.
        port: likewise.
        mcp: whether its endpoints are tools of an MCP server too.
        teaching: whether to offer training.
    """
    gallery, workers = Gallery(list(shown)), Workers()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # visitors are served side by side; each by one core
    logging.getLogger("httpx").setLevel(logging.WARNING)
    blocks = page(gallery, workers, teaching)
    blocks.queue(max_size=64, default_concurrency_limit=4)
    fetch, telemetry = processing_utils.async_ssrf_protected_download, constants.HF_HUB_DISABLE_TELEMETRY
    processing_utils.async_ssrf_protected_download, constants.HF_HUB_DISABLE_TELEMETRY = _not_fetched, True
    try:
        _, url, _ = blocks.launch(server_name=host, server_port=port, mcp_server=mcp, **_launching())
        for one in gallery:
            workers.soon(one)
        yield url.rstrip("/")
    finally:
        workers.close()
        blocks.close(verbose=False)
        workers.close(wait=True)
        processing_utils.async_ssrf_protected_download, constants.HF_HUB_DISABLE_TELEMETRY = fetch, telemetry
        torch.set_num_threads(threads)


class _Page(gr.Blocks):
    """Whose visitors are told in a sentence that an input takes no such thing; Gradio shows them its objects and paths."""

    async def preprocess_data(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super().preprocess_data(*arguments, **named)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            _log.warning("an input was refused: %s", short(error, 200))
            raise gr.Error(_WRONG, print_exception=False) from None

    async def call_function(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super().call_function(*arguments, **named)
        except VaekitError as error:
            raise gr.Error(escape(spoken(error)), print_exception=False) from None


_WRONG = "What was sent is not what this takes: /gradio_api/info lists the inputs, and a file is uploaded before it is named."


async def _not_fetched(*_: Any, **__: Any) -> str:
    """In place of what Gradio does with an address where a file is wanted, whatever the input: it would fetch it."""
    raise gr.Error("Nothing is fetched from an address: send the file itself.", print_exception=False)


def theme() -> gr.themes.Base:
    """One calm theme: no boxes in boxes, one accent, and the fonts that the machine has."""
    return gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", font=_FONT, font_mono=["ui-monospace", "monospace"], radius_size="sm"
    ).set(
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="8px 4px",
        form_gap_width="0px",
        block_label_text_size="13px",
        block_title_text_size="13px",
        block_title_text_weight="500",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_border_color="*primary_600",
        button_primary_border_color_hover="*primary_700",
        button_large_text_weight="500",
        button_large_text_size="14px",
        button_large_padding="8px 16px",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*border_color_primary",
        button_border_width="1px",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_selected="transparent",
        checkbox_label_background_fill_selected_dark="transparent",
        checkbox_label_padding="4px 8px 4px 0px",
        checkbox_label_border_width="0px",
        checkbox_label_border_width_dark="0px",
        input_border_width="1px",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_900",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
    )


def _launching() -> dict[str, Any]:
    return {
        "prevent_thread_lock": True,
        "quiet": True,
        "share": False,
        "inbrowser": False,
        "ssr_mode": False,
        "pwa": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "allowed_paths": [],
        "max_file_size": MOST_BYTES,
        "state_session_capacity": _SESSIONS,
        "footer_links": ["api"],
        "theme": theme(),
        "css": style(),
        "head": scripts(),
        "app_kwargs": {"middleware": [Middleware(Guard, folder=Path(get_upload_folder()))]},
    }

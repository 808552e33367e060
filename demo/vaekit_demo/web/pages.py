"""One HTML file that needs no other: styles, scripts, the model and what runs it are in it, and nothing comes from outside."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from vaekit_demo.web.contents import compressed

Json = dict[str, Any]
PANELS = ("00-common.js", "10-map.js", "20-pad.js", "30-explore.js", "40-reconstruct.js", "50-interpolate.js")
"""Of the demo, which lay this page out too."""
_CONTENT = '<script type="application/json" id="vk-content">'


def page(content: Json, blocks: Mapping[str, bytes]) -> str:
    """The page of a model.

    Args:
        content: what `contents.content` gives.
        blocks: the model and what runs it, by name; the page unpacks them once it has been laid out. May be empty.
    """
    style = _text("static", "style.css") + _text("web/static", "page.css")
    scripts = [_text("static", name) for name in PANELS] + [_text("web/static", name) for name in _own()]
    filled = {
        "policy": _policy(style, scripts),
        "title": escape(content["info"]["title"]),
        "subtitle": escape(content["info"]["subtitle"]),
        "style": style,
        "content": _CONTENT + json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "licences": escape(_text("web/static", "LICENCES.txt")) if blocks else escape(_text("web/static", "LICENCE.txt")),
        "blocks": "\n".join(_block(name, data) for name, data in blocks.items()),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], _text("web/static", "page.html"))


def content_of(text: str) -> Json:
    """What a page was made of, but for its blocks."""
    found: Json = json.loads(text.split(_CONTENT, 1)[1].split("</script>", 1)[0])
    return found


def _own() -> list[str]:
    folder = files("vaekit_demo").joinpath("web/static")
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".js"))


def _text(folder: str, name: str) -> str:
    return files("vaekit_demo").joinpath(folder, name).read_text(encoding="utf-8")


def _policy(style: str, scripts: list[str]) -> str:
    """What a browser is to refuse: every style, script, picture and connection but those that are in the page."""
    known = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {known} blob: 'wasm-unsafe-eval'; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _block(name: str, data: bytes) -> str:
    packed = base64.b64encode(compressed(data)).decode()
    return f'<script type="application/octet-stream" id="vk-block-{escape(name)}">{packed}</script>'

"""README.md of a page, which begins with what a static Space of the Hugging Face Hub asks for."""

import json

from vaekit.errors import short
from vaekit_demo.calls import subtitle
from vaekit_demo.engine.shown import Shown


def readme(shown: Shown, *, light: bool) -> str:
    """How to open the page, how to publish it, and what is in it."""
    title = short(shown.title)
    inside = (
        "It holds pictures that were decoded beforehand all over the plane of the codes, and no model."
        if light
        else "It holds the encoder and the decoder as ONNX, and ONNX Runtime Web (MIT License), which runs them in the browser."
    )
    return f"""---
title: {json.dumps(title[:60])}
sdk: static
app_file: index.html
pinned: false
tags:
- variational-autoencoder
- vaekit
---

# {_plain(title)}

{_plain(short(subtitle(shown), 300))}

`index.html` is all of the page: open it from disk with a double click, put it on any web server, or upload this folder as a
static Space of the Hugging Face Hub. {inside} Nothing is sent anywhere, and nothing is fetched.

Made with `vaekit export MODEL --web{" --light" if light else ""}`.
"""


def _plain(text: str) -> str:
    """Text in which Markdown sees nothing but text."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+|~!" else c for c in text)

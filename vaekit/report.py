"""An evaluation as one HTML file that needs no other: numbers, findings, pictures and the config."""

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vaekit.config import Config

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td { padding: .2rem 1rem .2rem 0; vertical-align: top; }
td:first-child { white-space: pre; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { opacity: .7; }
li { margin: .3rem 0; } pre { overflow: auto; font-size: .85rem; }
.bar { height: .8rem; background: #4c72b0; display: inline-block; }
.kl td { padding: 0 .6rem 0 0; font-size: .85rem; }
"""


def report(
    title: str,
    lines: Iterable[tuple[str, str]],
    numbers: dict[str, Any],
    config: Config | None,
    pictures: Sequence[Path] = (),
) -> str:
    """The page.

    Args:
        title: what was evaluated.
        lines: names and values for people.
        numbers: as `vaekit.evaluate` returns them.
        config: of the model.
        pictures: PNG or GIF files, which the page holds.
    """
    findings = numbers["findings"] or ["Nothing amiss."]
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<h2>What was found</h2>",
        f"<ul>{''.join(f'<li>{escape(said)}</li>' for said in findings)}</ul>",
        "<h2>Numbers</h2>",
        "<p>In nats per example where nothing else is said.</p>",
        f"<table>{''.join(f'<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>' for name, value in lines)}</table>",
        _kl(numbers["latents"]["kl"]),
        *(_picture(path) for path in pictures),
    ]
    if config is not None:
        text = escape(json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False))
        parts.append(f"<h2>Config</h2><details><summary>config.json</summary><pre>{text}</pre></details>")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'


def _kl(values: list[float] | None) -> str:
    """The KL of each dimension as bars, from the largest."""
    if not values:
        return ""
    largest = max(*values, 1e-9, 0.0)
    rows = ""
    for i, value in sorted(enumerate(values), key=lambda pair: -pair[1]):
        bar = f'<span class="bar" style="width:{20 * max(value, 0) / largest:.2f}rem"></span>'
        rows += f"<tr><td>{i}</td><td>{bar}</td><td>{value:.3f}</td></tr>"
    return f'<h2>KL by dimension</h2><table class="kl">{rows}</table>'


def _picture(path: Path) -> str:
    kind = "gif" if path.suffix == ".gif" else "png"
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = escape(path.stem.replace("-", " "))
    return f'<figure><img alt="{name}" src="data:image/{kind};base64,{data}"><figcaption>{name}</figcaption></figure>'

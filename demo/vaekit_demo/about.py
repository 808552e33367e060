"""A model in words and tables, as HTML in which whatever a stranger wrote is text."""

import json
from collections.abc import Iterable
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vaekit.config import DEFAULTS
from vaekit_demo.calls import subtitle
from vaekit_demo.engine.shown import IDLE, Shown


def architecture(shown: Shown) -> str:
    """The parts of a model with their options and sizes."""
    model, config = shown.model, shown.model.config
    rows = []
    for kind in DEFAULTS:
        spec = config.part(kind) if config else {"name": getattr(model, kind).name if kind != "loss" else ""}
        options = ", ".join(f"{name} {_plain(value)}" for name, value in spec.items() if name != "name")
        part = getattr(model, kind, None)
        size = f"{sum(p.numel() for p in part.parameters()):,}" if part is not None else ""
        rows.append((kind, str(spec["name"]), options, size))
    total = sum(p.numel() for p in model.parameters())
    rows.append(("", "", "all parameters", f"{total:,}"))
    return _table(("part", "name", "options", "parameters"), rows, numbers={3})


def metrics(shown: Shown) -> str:
    """What was measured of a model, and by whom."""
    if not shown.origin.measured:
        return _said("No numbers are recorded of this model: <code>vaekit evaluate</code> measures them.")
    return _table(("measure", "value", "of"), shown.origin.measured, numbers={1})


def loading(shown: Shown) -> str:
    """Python that loads a model; of one that was trained here, the command that trains it."""
    if shown.origin.command:
        return f'# in a terminal; vaekit.load("latest") then loads it\n{shown.origin.command}'
    given = json.dumps(shown.origin.load)
    y = ', y="…"' if shown.model.conditional else ""
    numbers = ", ".join(map(str, shown.shape))
    return (
        f"import vaekit\n\nmodel = vaekit.load({given})\n"
        f"model.sample(16{y}, seed=0)      # (16, {numbers})\n"
        f"model.encode(x{y})               # z of x (N, {numbers})\n"
        f"model.reconstruct(x{y})"
    ) + (f"\nmodel.log_likelihood(x{y})       # nats per example" if shown.model.latent.has_density else "")


def plugins(shown: Shown) -> str:
    """The packages that a model's parts come from, and which are installed here."""
    config = shown.model.config
    rows = [(name, saved, _installed(name)) for name, saved in (config.plugins if config else {}).items()]
    return _table(("package", "saved with", "here"), rows)


def heading(shown: Shown) -> str:
    """What the model is, in one line."""
    return f'<p class="vk-subtitle">{escape(subtitle(shown))}</p>'


def kl_note(shown: Shown) -> str:
    """What the chart of KL says."""
    survey = shown.survey
    if not shown.model.latent.has_density:
        return "The posterior is a point, without a density: there is no KL."
    if survey.kl is None:
        return "KL is not a sum over dimensions in this model, so there is none of each."
    used = shown.size - sum(map(survey.idle, range(shown.size)))
    where = f"{len(survey.z):,} test examples" if survey.numbers is not None else f"{len(survey.z):,} of its own samples"
    return (
        f"{float(survey.kl.sum()):.2f} nats in all over {where}: "
        f"{used} of {shown.size} dimensions carry more than {IDLE:g} nats. "
        "A dimension with none is the prior whatever the image: the decoder has no use for it."
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers: frozenset[int] | set[int] = frozenset()) -> str:
    def cells(tag: str, row: tuple[str, ...]) -> str:
        kinds = [' class="vk-number"' if i in numbers else "" for i in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    inside = f"<thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="vk-scroll"><table class="vk-table">{inside}</table></div>'


def _said(text: str) -> str:
    return f'<p class="vk-quiet">{text}</p>'


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _installed(name: str) -> str:
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return "not installed"

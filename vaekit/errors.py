"""What can go wrong, as one tree.

    VaekitError
    ├── ConfigError       a config, an option or an argument is not what it must be
    ├── UnknownPart       no installed plugin brings a part of that kind and name
    ├── PluginError       an installed plugin is broken, or two of them clash
    ├── ShapeError        parts or arrays whose shapes do not fit
    ├── DataError         data that are missing, unreadable or outside a likelihood's support
    ├── CheckpointError   a model folder or a training state that cannot be trusted
    ├── HubError          the Hugging Face Hub has not what was asked, refuses it, or cannot be reached
    └── TrainingError     training cannot go on, a term that is not finite for instance

A message says what was asked, what there is, and what to do.
"""

import difflib
from collections.abc import Iterable


class VaekitError(Exception):
    """The root of every error that vaekit raises on purpose."""


class ConfigError(VaekitError):
    """A config, an option or an argument is not what it must be."""


class UnknownPart(VaekitError):
    """No installed plugin brings a part of that kind and name."""


class PluginError(VaekitError):
    """An installed plugin is broken, or two of them clash."""


class ShapeError(VaekitError):
    """Parts or arrays whose shapes do not fit together."""


class DataError(VaekitError):
    """Data that are missing, unreadable, or outside the support of a likelihood."""


class CheckpointError(VaekitError):
    """A model folder or a training state that cannot be trusted."""


class HubError(VaekitError):
    """The Hugging Face Hub has not what was asked, refuses it, or cannot be reached."""


class TrainingError(VaekitError):
    """Training cannot go on."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'lstm'?"` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def short(value: object, most: int = 80) -> str:
    """What a stranger wrote, in one line that a terminal can be trusted with."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= most else f"{text[: most - 3]}..."

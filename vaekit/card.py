"""The README.md of a model folder: what the model is, how to load it, what it was trained on.

What data and configs say is written so that it is text and nothing else, whatever it holds.
"""

import re
from collections.abc import Mapping

from vaekit.config import DEFAULTS, Config
from vaekit.errors import short
from vaekit.known import UNNAMED
from vaekit.model import VAE


def card(model: VAE, config: Config) -> str:
    """The card as Markdown, written from the model and its config."""
    blocks = [
        "---\nlibrary_name: vaekit\ntags: [vae]\n---",
        "# A variational autoencoder",
        f"{what(model, config)} {made_with(config.plugins)}",
        python(model, "path/to/this/folder"),
        architecture(model, config),
        data(config),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


# What a card is made of, here and on the Hub.


def of_images(config: Config) -> bool:
    """Whether the data are images."""
    return len(config.data_shape) == 3 and config.data_shape[0] in (1, 3)


def what(model: VAE, config: Config) -> str:
    """What the model is, in two sentences."""
    total = sum(p.numel() for p in model.parameters())
    kind = "images" if of_images(config) else "data"
    told = ", told what class each is of" if model.conditional else ""
    of = f" of {name}" if (name := name_of_data(config)) else ""
    return f"A variational autoencoder{of}: {kind} of shape {tuple(config.data_shape)}{told}. {total:,} parameters."


def name_of_data(config: Config) -> str:
    """What the data are called, as part of a sentence; nothing where that is not known."""
    return "" if config.data is None else NO_NAME if config.data.name in UNNAMED else config.data.name


NO_NAME = "a data set of its author's"


def made_with(versions: Mapping[str, str]) -> str:
    """What the model was made with, and which versions."""
    return f"Made with {', '.join(f'{plain(name)} {plain(version)}' for name, version in versions.items())}."


def python(model: VAE, where: str) -> str:
    """How to load the model from `where` in Python."""
    options = "16, y=0, seed=0" if model.conditional else "16, seed=0"
    shape = ", ".join(map(str, (16, *model.data_shape)))
    return f'```python\nimport vaekit\n\nmodel = vaekit.load("{where}")\nmodel.sample({options})  # ({shape})\n```'


def architecture(model: VAE, config: Config) -> str:
    """The parts as a table."""
    rows = ["| kind | part | options | parameters |", "| --- | --- | --- | --: |"]
    for kind in DEFAULTS:
        spec = config.part(kind)
        options = ", ".join(code(f"{name} = {value}") for name, value in spec.items() if name != "name")
        size = "" if kind == "loss" else f"{sum(p.numel() for p in getattr(model, kind).parameters()):,}"
        rows.append(f"| {kind} | {spec['name']} | {options} | {size} |")
    return "\n".join(rows)


def data(config: Config) -> str:
    """What the model saw, in words."""
    data = config.data
    if data is None:
        return ""
    done = [
        f"a square of {data.crop} cut from the middle" if data.crop else "",
        f"brought to {data.resize[0]} × {data.resize[1]}" if data.resize else "",
        "colours dropped" if data.grey else "",
        "bytes divided by 255" if data.bytes else "",
        f"made binary ({data.binarize})" if data.binarize != "none" else "",
    ]
    said = "; ".join([f"Trained on {data.examples:,} examples of {name_of_data(config)}", *filter(None, done)]) + "."
    if data.classes:
        more = f" and {len(data.classes) - _CLASSES:,} more" if len(data.classes) > _CLASSES else ""
        said += f" Classes: {', '.join(map(plain, data.classes[:_CLASSES]))}{more}."
    return said


_CLASSES = 20


def plain(text: str) -> str:
    """Text for a cell or a sentence: what Markdown or HTML would make something of stands as its number."""
    return re.sub(r"[\\`*_\[\]<>|~$&!:@#{}]", lambda found: f"&#{ord(found[0])};", short(text, 300))


def code(text: str) -> str:
    """Text in the look of code, where that is safe."""
    said = short(text, 300)
    return plain(said) if re.search(r"[`|\\]", said) else f"`{said}`"

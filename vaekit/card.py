"""The README.md of a model folder: what the model is, how to load it, what it was trained on."""

from vaekit.config import DEFAULTS, Config
from vaekit.model import VAE


def card(model: VAE, config: Config) -> str:
    """The card as Markdown, written from the model and its config."""
    rows = [f"| {kind} | {_part(config, kind)} | {_count(model, kind)} |" for kind in DEFAULTS]
    total = sum(p.numel() for p in model.parameters())
    packages = ", ".join(f"{name} {version}" for name, version in config.plugins.items())
    lines = [
        "---",
        "library_name: vaekit",
        "tags: [vae]",
        "---",
        "",
        "# A variational autoencoder",
        "",
        f"Data of shape {tuple(config.data_shape)}, {total:,} parameters. Made with {packages}.",
        "",
        "```python",
        "import vaekit",
        "",
        'model = vaekit.load("path/to/this/folder")',
        f"model.sample(16)  # (16, {', '.join(map(str, config.data_shape))})",
        "```",
        "",
        "| | part | parameters |",
        "| --- | --- | --: |",
        *rows,
    ]
    if config.data:
        lines += ["", f"Trained on {config.data.examples:,} examples of {config.data.name}{_binary(config)}."]
    return "\n".join(lines) + "\n"


def _part(config: Config, kind: str) -> str:
    spec = config.part(kind)
    options = ", ".join(f"{name} = {value}" for name, value in spec.items() if name != "name")
    return f"{spec['name']}: {options}" if options else str(spec["name"])


def _count(model: VAE, kind: str) -> str:
    return "" if kind == "loss" else f"{sum(p.numel() for p in getattr(model, kind).parameters()):,}"


def _binary(config: Config) -> str:
    binarize = config.data.binarize if config.data else "none"
    return "" if binarize == "none" else f", made binary ({binarize})"

"""What an exported program says of itself: names, shapes, ranges, units and labels, and what it was made of."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vaekit import card, hub
from vaekit.config import Config
from vaekit.errors import short
from vaekit.export.draws import FILE, Draws
from vaekit.export.graphs import Graph
from vaekit.export.parity import Differences
from vaekit.model import VAE
from vaekit.starting import digest
from vaekit.wiring import describe

FORMAT = 1
README = "README.md"
_MOST_ROWS = 2**19  # numbers in the table of contexts


@dataclass(frozen=True)
class Description:
    """Of all programs of one model.

    Args:
        model: that is exported.
        name: what people call it.
        precision: of the weights.
        draws: from its prior.
    """

    model: VAE
    name: str
    precision: str
    draws: Draws

    def of(self, graph: Graph, differences: Differences) -> dict[str, Any]:
        """Of one half, as JSON values."""
        return {
            "vaekit": FORMAT,
            "part": graph.half,
            "precision": self.precision,
            "name": self.name,
            "source": self._source,
            "digest": digest(self.model.state_dict()),
            "inputs": [self._tensor(name) for name in graph.inputs],
            "outputs": [self._tensor(name) for name in graph.module.outputs],
            "data": self._data,
            "latent": {
                "name": self.model.latent.name,
                "shape": list(self.model.latent.out_shape),
                "support": self.model.latent.root.support,
            },
            "prior": {
                "name": self.model.prior.name,
                "standard": not self.draws.n,
                "file": FILE if self.draws.n else None,
                "draws": self.draws.n,
            },
            "context": self._context,
            "parity": {"random": differences.random, "real": differences.real, "examples": differences.examples},
            "config": self._config.model_dump(mode="json"),
            "versions": {"vaekit": version("vaekit"), "torch": torch.__version__.partition("+")[0]},
        }

    def readme(self, files: Sequence[str]) -> str:
        """A page for whoever finds the folder."""
        onnx = any(file.endswith(".onnx") for file in files)
        run = _RUN_ONNX if onnx else _RUN_TORCH
        name = card.plain(short(self.name)) or "A variational autoencoder"
        said = [f"Files: {', '.join(f'`{file}`' for file in files)}. Each describes its inputs and outputs in its metadata."]
        if self.draws.n and "decode" in " ".join(files):
            said.append(f"`{FILE}` holds {self.draws.n:,} codes `z` drawn from its prior, which is not standard normal.")
        blocks = [
            f"# {name}, exported",
            card.what(self.model, self._config),
            " ".join(said),
            run.format(file=files[-1], given=", ".join(self._zeros(files[-1], onnx))),
            card.data(self._config),
        ]
        return "\n\n".join(filter(None, blocks)) + "\n"

    def _zeros(self, file: str, named: bool) -> Iterator[str]:
        """Inputs of nothing for sixteen examples, as they are written in Python."""
        name, shape = ("x", self.model.data_shape) if file.startswith("encode") else ("z", self.model.latent.out_shape)
        shapes = {name: shape, "c": self.model.context.out_shape} if self.model.conditional else {name: shape}
        for name, shape in shapes.items():
            sizes = ", ".join(map(str, (16, *shape)))
            yield f'"{name}": numpy.zeros(({sizes}), numpy.float32)' if named else f"torch.zeros({sizes})"

    @property
    def _config(self) -> Config:
        return self.model.config or describe(self.model)

    @property
    def _source(self) -> str:
        """The repo and the commit; a folder is nobody else's business."""
        source = self.model.source or ""
        return source if "@" in source and hub.is_id(source) and not os.path.lexists(source) else ""

    @property
    def _data(self) -> dict[str, Any]:
        data = self._config.data
        low_high, units = values(self.model)
        return {
            "name": data.name if data else "",
            "shape": list(self.model.data_shape),
            "range": low_high,
            "units": units,
            "binarize": data.binarize if data else "none",
            "classes": list(data.classes) if data else [],
        }

    @property
    def _context(self) -> dict[str, Any] | None:
        if not self.model.conditional:
            return None
        number = self.model.context.spec().get("classes")
        if not isinstance(number, int):
            return {"name": self.model.context.name, "width": self.model.context.out_shape[0], "classes": [], "rows": None}
        names = self._config.data.classes if self._config.data else ()
        width = self.model.context.out_shape[0]
        classes = list(names) if len(names) == number else [str(i) for i in range(number)]
        return {"name": self.model.context.name, "width": width, "classes": classes, "rows": _rows(self.model, number)}

    def _tensor(self, name: str) -> dict[str, Any]:
        """An input or an output."""
        low_high, units = values(self.model)
        latent = self.model.latent
        spoken: dict[str, tuple[Sequence[int], list[float | None] | None, str, str]] = {
            "x": (self.model.data_shape, low_high, units, "examples"),
            "mean": (self.model.data_shape, _ends(self.model), units, "the mean of p(x | z, c)"),
            "z": (latent.out_shape, None, "the latent's own", "codes"),
            "code": (latent.out_shape, None, "the latent's own", "the deterministic code of each example"),
            "std": (latent.root.shape, [0.0, None], "the latent's own", "the standard deviation of q(z | x, c)"),
            "c": (self.model.context.out_shape, None, "none", "the context: what the model is told of each example"),
        }
        shape, ends, unit, meaning = spoken[name]
        return {
            "name": name,
            "shape": ["batch", *shape],
            "dtype": "float32",
            "range": ends,
            "units": unit,
            "padding": name == "x" and self.model.encoder.takes_padding and len(shape) == 2,
            "meaning": meaning,
        }


def _rows(model: VAE, classes: int) -> list[list[float]] | str | None:
    """c of each class: `one-hot`, or the numbers where they are not too many."""
    width = model.context.out_shape[0]

    def of(some: Tensor) -> Tensor:
        with torch.no_grad():
            c: Tensor = model.context(some, len(some)).float()
        return c

    parts = torch.arange(classes).split(_AT_ONCE)
    if width == classes and all(torch.equal(of(part), one_hot(part, width).float()) for part in parts):
        return "one-hot"
    return of(torch.arange(classes)).tolist() if classes * width <= _MOST_ROWS else None


_AT_ONCE = 256


def values(model: VAE) -> tuple[list[float | None] | None, str]:
    """From where to where the numbers of a model's data go, None where they have no end, and what they are."""
    data = model.config.data if model.config else None
    ends = _ends(model)
    if data is not None and data.binarize != "none":
        return [0.0, 1.0], "black 0, white 1"
    if data is not None and data.bytes:
        return [0.0, 1.0], "intensity, 0 black to 1 white"
    return ends, "counts" if ends == [0.0, None] else "as in the training data"


def _ends(model: VAE) -> list[float | None] | None:
    """The least and the greatest value that the likelihood scores, where they are 0 or 1; None for all of the line."""
    part = model.likelihood
    supports = [part.support] if part.pseudo_support is None else [part.support, part.pseudo_support]

    def scored(*numbers: float) -> bool:
        return any(bool(support.check(torch.tensor(number)).all()) for support in supports for number in numbers)

    near = 1e-6  # an open interval does not score its ends
    low = 0.0 if scored(0, near) and not scored(-near, -1) else None
    high = 1.0 if scored(1, 1 - near) and not scored(1 + near, 2) else None
    return None if low is None and high is None else [low, high]


_RUN_ONNX = """```python
import numpy
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
session.run(None, {{{given}}})
```

`pip install vaekit-runtime` reads the descriptions too, and needs no torch: `vaekit_runtime.Predictor(".")`."""
_RUN_TORCH = """```python
import torch

program = torch.export.load("{file}").module()
program({given})
```"""

"""What a run starts with: a model with its first weights, its own or those that another leaves it."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from vaekit import io, registry
from vaekit.blocks import drawing
from vaekit.config import DEFAULTS, Config, DataInfo, as_spec
from vaekit.data.batches import Batches
from vaekit.data.prepare import Data
from vaekit.data.subset import some
from vaekit.errors import ConfigError, ShapeError
from vaekit.model import VAE
from vaekit.parts import Loss
from vaekit.wiring import build


def new_model(
    data: Data, parts: dict[str, Any], seed: int = 0, weights: Mapping[str, Tensor] | None = None
) -> tuple[VAE, Loss]:
    """A model of some data with its first weights, and its loss.

    Args:
        data: of which the prior sees some examples, where it begins with that.
        parts: of the model, and the loss.
        seed: what its weights depend on.
        weights: that it has instead, by their names; those that are missing it keeps.
    """
    parts = {**parts, "context": with_classes(parts.get("context"), data.info)}
    with drawing(seed, torch.device("cpu")):
        model, loss = build(Config(data_shape=data.shape, data=data.info, **parts))
        if weights:
            model.load_state_dict({**model.state_dict(), **weights})
        n = min(model.prior.begins_with, len(data.train))
        if n:
            dynamic = data.info.binarize == "dynamic"
            x, y = next(iter(Batches(data.train.take(some(len(data.train), n, seed)), n, dynamic=dynamic, seed=seed)))
            model.begin(x, model.context(y, n))
    return model, loss


def with_classes(context: Any, info: DataInfo | None) -> Any:
    """A context that counts classes counts those of the data, unless it was told how many."""
    spec = as_spec("context", context or DEFAULTS["context"])
    options = [option.name for option in registry.options(registry.find("context", str(spec["name"])))]
    classes = len(info.classes) if info is not None else 0
    return {"classes": classes, **spec} if "classes" in options and classes > 1 else spec


def weights_of(start: str | None, data: Data) -> dict[str, Tensor]:
    """What a model starts with that another leaves it: all but the prior; nothing where there is no other.

    Raises:
        ShapeError: where that is of other data.
    """
    if start is None:
        return {}
    model = io.load(start)
    if model.data_shape != data.shape:
        raise ShapeError(f"{data.info.name} has examples of shape {data.shape}, this model takes {model.data_shape}")
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("prior.")}


def digest(weights: Mapping[str, Tensor]) -> str:
    """What tells these weights from others."""
    found = sha256()
    for name, tensor in sorted(weights.items()):
        found.update(name.encode())
        found.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def check_prior_alone(model: VAE, loss: Loss) -> None:
    """Check that nothing but the prior is trained.

    Raises:
        ConfigError: where something is.
    """
    prior = {id(p) for p in model.prior.parameters()}
    if any(id(p) not in prior for own in loss.players(model).values() for p in own):
        raise ConfigError(f"loss {loss.name!r} trains more than the prior: in a refit take prior-nll, or train anew")

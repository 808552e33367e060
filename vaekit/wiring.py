"""From a Config to a model and its loss: the only place where shapes are wired."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from vaekit.config import DEFAULTS, Config, DataInfo
from vaekit.errors import PluginError, ShapeError, VaekitError
from vaekit.model import VAE
from vaekit.parts import Context, Decoder, Encoder, Latent, Likelihood, Loss, Part, Prior
from vaekit.plugins import origin
from vaekit.registry import find
from vaekit.schema import options as options_of
from vaekit.schema import validate


def build(config: Config | Mapping[str, Any]) -> tuple[VAE, Loss]:
    """The model that a config describes, and its loss.

    `model.config` is the config with every default filled in and the packages of the parts recorded.

    Raises:
        ConfigError: where an option is wrong.
        UnknownPart: where a part is not installed.
        ShapeError: where parts do not fit the data or each other.
    """
    resolved = resolve(config if isinstance(config, Config) else Config(**config))
    model = build_model(resolved)
    return model, build_loss(resolved, model)


def resolve(config: Config) -> Config:
    """The config with every default of every part filled in, and where the parts come from."""
    specs = {}
    origins = {"vaekit": version("vaekit")}
    for kind in DEFAULTS:
        part, options = _found(config, kind)
        specs[kind] = {"name": part.name, **{o.name: o.default for o in options_of(part)}, **options}
        plugin = origin(part)
        if plugin:
            origins[plugin.package] = plugin.version
    return Config(**{**config.model_dump(), **specs, "plugins": dict(sorted(origins.items()))})


def build_model(config: Config) -> VAE:
    """The model that a config describes, in the config's dtype and in training mode; the loss's plugin is not asked for."""
    shape = config.data_shape
    context: Context = _built(config, "context")
    width = context.out_shape[0]
    encoder: Encoder = _built(config, "encoder", shape, width)
    latent: Latent = _built(config, "latent", encoder.out_shape, width)
    prior: Prior = _built(config, "prior", latent.root, shape, width)
    likelihood: Likelihood = _built(config, "likelihood", shape)
    decoder: Decoder = _built(config, "decoder", latent.out_shape, likelihood.in_shape, width)
    if tuple(decoder.out_shape) != tuple(likelihood.in_shape):
        raise ShapeError(
            f"decoder {decoder.name!r} gives {decoder.out_shape}, "
            f"but likelihood {likelihood.name!r} takes {likelihood.in_shape}"
        )
    model = VAE(context=context, encoder=encoder, latent=latent, prior=prior, decoder=decoder, likelihood=likelihood)
    model.config = config
    return model.to(getattr(torch, config.dtype))


def build_loss(config: Config, model: VAE) -> Loss:
    """The loss that a config describes, for a model built from it."""
    examples = config.data.examples if config.data else 1
    loss: Loss = _built(config, "loss", config.data_shape, model.latent.root, examples)
    return loss.to(getattr(torch, config.dtype))


def describe(model: VAE, loss: Loss | None = None, data: DataInfo | None = None) -> Config:
    """The config of a model that was put together by hand."""
    specs: dict[str, Any] = {kind: getattr(model, kind).spec() for kind in DEFAULTS if kind != "loss"}
    if loss is not None:
        specs["loss"] = loss.spec()
    dtype: Any = str(next(iter(model.parameters()), model.context.empty).dtype).removeprefix("torch.")
    return resolve(Config(data_shape=model.data_shape, dtype=dtype, data=data, **specs))


def _found(config: Config, kind: str) -> tuple[type[Part], dict[str, Any]]:
    spec = config.part(kind)
    part = find(kind, str(spec["name"]))
    return part, {name: value for name, value in spec.items() if name != "name"}


def _built(config: Config, kind: str, *wiring: Any) -> Any:
    part, options = _found(config, kind)
    try:
        built = part(*wiring, **validate(part, options))
    except VaekitError as error:
        if str(error).startswith(f"{kind} {part.name!r}"):
            raise
        raise type(error)(f"{kind} {part.name!r}: {error}") from error
    except Exception as error:
        raise PluginError(f"{kind} {part.name!r} could not be built on {wiring}: {type(error).__name__}: {error}") from error
    return built

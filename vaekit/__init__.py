"""Variational autoencoders made of parts: any encoder with any latent, prior, decoder, likelihood and loss.

Names are looked up when they are first used, so that importing vaekit imports neither torch nor any plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaekit_runtime import Predictor as Predictor

    from vaekit import distributions as distributions
    from vaekit import export as export
    from vaekit.config import Config as Config
    from vaekit.data.batches import Batches as Batches
    from vaekit.data.catalog import DataSet as DataSet
    from vaekit.data.catalog import Examples as Examples
    from vaekit.data.catalog import Raw as Raw
    from vaekit.data.catalog import split_named as split_named
    from vaekit.data.image_files import ImageFiles as ImageFiles
    from vaekit.data.offline import may_download as may_download
    from vaekit.errors import CheckpointError as CheckpointError
    from vaekit.errors import ConfigError as ConfigError
    from vaekit.errors import DataError as DataError
    from vaekit.errors import HubError as HubError
    from vaekit.errors import PluginError as PluginError
    from vaekit.errors import ShapeError as ShapeError
    from vaekit.errors import TrainingError as TrainingError
    from vaekit.errors import UnknownPart as UnknownPart
    from vaekit.errors import VaekitError as VaekitError
    from vaekit.evaluation import evaluate as evaluate
    from vaekit.fitting import fit as fit
    from vaekit.fitting import refit as refit
    from vaekit.hookspecs import hookimpl as hookimpl
    from vaekit.io import load as load
    from vaekit.layers import Activation as Activation
    from vaekit.layers import Widths as Widths
    from vaekit.layers import activation as activation
    from vaekit.layers import dense as dense
    from vaekit.model import VAE as VAE
    from vaekit.parts import Context as Context
    from vaekit.parts import Decoder as Decoder
    from vaekit.parts import Encoder as Encoder
    from vaekit.parts import Latent as Latent
    from vaekit.parts import Likelihood as Likelihood
    from vaekit.parts import Loss as Loss
    from vaekit.parts import Part as Part
    from vaekit.parts import Posterior as Posterior
    from vaekit.parts import Prior as Prior
    from vaekit.parts import Space as Space
    from vaekit.resuming import resume as resume
    from vaekit.runs import Run as Run
    from vaekit.shapes import Shape as Shape
    from vaekit.shapes import feature_axis as feature_axis
    from vaekit.shapes import join as join
    from vaekit.shapes import mask as mask
    from vaekit.shapes import widen as widen
    from vaekit.sweeps import Sweep as Sweep
    from vaekit.sweeps import sweep as sweep
    from vaekit.trace import Draw as Draw
    from vaekit.trace import Site as Site
    from vaekit.trace import Terms as Terms
    from vaekit.trace import Trace as Trace
    from vaekit.trainer import train as train
    from vaekit.training import Report as Report
    from vaekit.wiring import build as build

_MODULES = {
    "config": ["Config"],
    "data.batches": ["Batches"],
    "data.catalog": ["DataSet", "Examples", "Raw", "split_named"],
    "data.image_files": ["ImageFiles"],
    "data.offline": ["may_download"],
    "errors": [
        "CheckpointError",
        "ConfigError",
        "DataError",
        "HubError",
        "PluginError",
        "ShapeError",
        "TrainingError",
        "UnknownPart",
        "VaekitError",
    ],
    "evaluation": ["evaluate"],
    "fitting": ["fit", "refit"],
    "hookspecs": ["hookimpl"],
    "io": ["load"],
    "layers": ["Activation", "Widths", "activation", "dense"],
    "model": ["VAE"],
    "parts": ["Context", "Decoder", "Encoder", "Latent", "Likelihood", "Loss", "Part", "Posterior", "Prior", "Space"],
    "resuming": ["resume"],
    "runs": ["Run"],
    "shapes": ["Shape", "feature_axis", "join", "mask", "widen"],
    "sweeps": ["Sweep", "sweep"],
    "trace": ["Draw", "Site", "Terms", "Trace"],
    "trainer": ["train"],
    "training": ["Report"],
    "wiring": ["build"],
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

_WHOLE = ("distributions", "export")
"""Modules that are used by their own name."""

__all__ = sorted([*_WHERE, *_WHOLE])


def __getattr__(name: str) -> Any:
    if name in _WHOLE:
        return import_module(f"vaekit.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("vaekit")
    if name == "Predictor":
        return _predictor()
    if name not in _WHERE:
        raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
    value = getattr(import_module(f"vaekit.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def _predictor() -> Any:
    """The class of a package that needs no vaekit."""
    try:
        return import_module("vaekit_runtime").Predictor
    except ModuleNotFoundError as error:
        if error.name != "vaekit_runtime":
            raise
    raise ImportError('vaekit.Predictor comes with vaekit-runtime, which is not installed: pip install "vaekit[runtime]"')


def __dir__() -> list[str]:
    return [*__all__, "Predictor", "__version__"]

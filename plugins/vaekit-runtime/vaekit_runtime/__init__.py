"""Predictions of exported vaekit models: neither torch nor vaekit is needed.

Names are looked up when they are first used, so that importing this package imports neither numpy nor onnxruntime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaekit_runtime.errors import DataError as DataError
    from vaekit_runtime.errors import InputError as InputError
    from vaekit_runtime.errors import ModelError as ModelError
    from vaekit_runtime.errors import PredictError as PredictError
    from vaekit_runtime.metadata import Metadata as Metadata
    from vaekit_runtime.predictor import Predictor as Predictor

_WHERE = {
    "DataError": "errors",
    "InputError": "errors",
    "Metadata": "metadata",
    "ModelError": "errors",
    "PredictError": "errors",
    "Predictor": "predictor",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vaekit-runtime")
    if name not in _WHERE:
        raise AttributeError(f"module 'vaekit_runtime' has no attribute {name!r}")
    value = getattr(import_module(f"vaekit_runtime.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

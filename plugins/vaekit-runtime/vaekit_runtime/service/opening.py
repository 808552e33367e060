"""What is served, from what a person typed."""

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from vaekit_runtime.errors import InputError, ModelError, short
from vaekit_runtime.files import there
from vaekit_runtime.service.served import Model


def open_model(given: str, threads: int | None = None, device: str | None = None) -> Model:
    """An exported model, or a trained one.

    Args:
        given: an exported folder or .onnx file; or a run, a model folder, `latest` or a repo on the Hub, which need vaekit.
        threads: that compute one batch; as many as there are cores unless given.
        device: that a trained model computes on, as torch calls it; `auto` for a GPU where there is one.

    Raises:
        PredictError: where it cannot be opened.
    """
    path = Path(given).expanduser()
    if path.suffix.lower() == ".onnx" or there(path) or there(path, "pt2"):
        if device not in (None, "cpu"):
            raise InputError(
                f"an exported model computes on the cpu, not on {short(device)}: serve the run, or leave --device out"
            )
        return _exported(path, threads)
    if find_spec("vaekit") is None:
        raise InputError(
            f"{short(given)} is no exported model (a folder with encode.onnx or decode.onnx, or an .onnx file), and anything "
            "else needs vaekit, which is not installed: pip install vaekit, or export the model where it is"
        )
    return _trained(given, threads, device or "cpu")


def _exported(path: Path, threads: int | None) -> Model:
    import onnxruntime

    from vaekit_runtime import Predictor

    predictor = Predictor(path, threads)
    metadata = predictor.metadata
    versions = {"vaekit-runtime": version("vaekit-runtime"), "onnxruntime": onnxruntime.__version__}
    return Model(predictor, metadata.name, versions, _shown(metadata.data.range), metadata.data.units)


def _trained(given: str, threads: int | None, device: str) -> Model:
    import torch

    import vaekit
    from vaekit.export.described import values
    from vaekit.io import title
    from vaekit_runtime.service.trained import Trained

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        model = vaekit.load(given, device=device, dtype=torch.float32)
        name = title(given)
    except vaekit.VaekitError as error:
        raise ModelError(str(error)) from None
    ends, units = values(model)
    versions = {package: version(package) for package in ("vaekit-runtime", "vaekit", "torch")}
    return Model(Trained(model), name, versions, _shown(ends), units, contexts="classes" not in model.context.spec())


def _shown(ends: Sequence[float | None] | None) -> tuple[float, float]:
    """The values that are black and white in images: those that values go from and to, 0 and 1 where one has no end."""
    black, white = ends or (None, None)
    return (0.0, 1.0) if black is None or white is None else (black, white)

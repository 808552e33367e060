"""What is served, from what a person typed."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from vaekit_runtime.errors import InputError, ModelError, short
from vaekit_runtime.service.served import Model

PARTS = ("encode.onnx", "decode.onnx")


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
    if path.suffix.lower() == ".onnx" or any((path / part).is_file() for part in PARTS):
        if device not in (None, "cpu"):
            raise InputError(
                f"an exported model computes on the cpu, not on {short(device)}: serve the run, or leave --device out"
            )
        return _exported(path, threads)
    if find_spec("vaekit") is None:
        raise InputError(
            f"{short(given)} is no exported model (a folder with {' or '.join(PARTS)}, or an .onnx file), and anything else "
            "needs vaekit, which is not installed: pip install vaekit, or export the model where it is"
        )
    return _trained(given, threads, device or "cpu")


def _exported(path: Path, threads: int | None) -> Model:
    import onnxruntime

    from vaekit_runtime import Predictor

    predictor = Predictor(path, threads)
    metadata = predictor.metadata
    versions = {"vaekit-runtime": version("vaekit-runtime"), "onnxruntime": onnxruntime.__version__}
    black, white = metadata.data.range or (None, None)
    shown = (0.0, 1.0) if black is None or white is None else (black, white)
    return Model(predictor, metadata.name, versions, shown, metadata.data.units)


def _trained(given: str, threads: int | None, device: str) -> Model:
    import torch

    import vaekit
    from vaekit.io import run_of
    from vaekit_runtime.service.trained import Trained

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        model = vaekit.load(given, device=device, dtype=torch.float32)
        run = run_of(given)
    except vaekit.VaekitError as error:
        raise ModelError(str(error)) from None
    name = run.resolve().name if run else Path(given).resolve().name if Path(given).exists() else given
    versions = {name: version(name) for name in ("vaekit-runtime", "vaekit", "torch")}
    return Model(Trained(model), short(name), versions)

"""Where the metrics of a run go besides its own files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vaekit.errors import ConfigError, suggestion


class Logger(Protocol):
    """Something that is told the metrics of a run."""

    def log(self, row: Mapping[str, Any]) -> None:
        """One row: epoch, step, split, terms in nats per example, and in training gradient_norm, images_per_second and lr.

        Rows of training within an epoch are means over the epoch so far. The norm of the gradient is that before clipping,
        a mean over all steps where it is clipped, and over every 16th elsewhere.
        """

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Scalars in the files of TensorBoard, in the folder `tensorboard` of the run.

    Args:
        folder: of the run.
        step: from which on what is there is of a former course of the run, and hidden.

    Raises:
        ConfigError: where TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._writer = self.writer()(str(folder / "tensorboard"), purge_step=step + 1)

    @staticmethod
    def writer() -> Any:
        """What writes its files."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("tensorboard is not installed: pip install 'vaekit[tensorboard]'") from None
        return SummaryWriter

    def log(self, row: Mapping[str, Any]) -> None:
        """Each number of a row as `split/name`."""
        for name, value in row.items():
            if name not in ("epoch", "step", "split"):
                self._writer.add_scalar(f"{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


def check(wanted: Sequence[str | Logger]) -> None:
    """See that there are loggers of these names.

    Raises:
        ConfigError: where one is unknown, or what it needs is not installed.
    """
    for name in wanted:
        if isinstance(name, str) and name not in _NAMED:
            raise ConfigError(f"no logger {name!r}{suggestion(name, _NAMED)} (there are: {', '.join(_NAMED)})")
        if isinstance(name, str):
            _NAMED[name].writer()


def opened(wanted: Sequence[str | Logger], folder: Path, step: int) -> list[Logger]:
    """Loggers by name, or as they are.

    Args:
        wanted: `tensorboard`, or Loggers.
        folder: of the run.
        step: of the run, from which on they will be told.
    """
    return [_NAMED[logger](folder, step) if isinstance(logger, str) else logger for logger in wanted]


def close(loggers: Sequence[Logger]) -> None:
    """Close all of them, whatever one of them says to it."""
    for logger in loggers:
        try:
            logger.close()
        except Exception as error:
            warnings.warn(f"{type(logger).__name__} could not be closed: {error}", stacklevel=2)


_NAMED = {"tensorboard": TensorBoard}

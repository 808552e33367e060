"""Run directories: what training leaves on disk.

run.json         all that is needed to repeat it
metrics.jsonl    metrics.csv    one row a report
model/           the model folder, best on the validation set
checkpoints/     training state, the last two
figures/         pictures
figures.json     of which weights the pictures are
evaluation.json  what `vaekit evaluate` measured last, and of which weights
"""

import csv
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from vaekit import io, strictjson
from vaekit.errors import CheckpointError, ConfigError
from vaekit.files import WEIGHTS
from vaekit.model import VAE

try:
    import fcntl
except ImportError:  # on Windows, where runs are not held
    fcntl = None  # type: ignore[assignment]


class Run:
    """A run directory.

    Args:
        path: of the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says."""
        try:
            record: dict[str, Any] = strictjson.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path} is not a run: {error}") from None
        missing = [key for key in _RECORDED if key not in record] if isinstance(record, dict) else _RECORDED
        if missing:
            raise CheckpointError(f"{self.path} is not a run: run.json says nothing of its {missing[0]}")
        return record

    @property
    def status(self) -> str:
        """`running`, `done`, `interrupted` or `failed`."""
        return str(self.record["status"])

    @cached_property
    def model(self) -> VAE:
        """The model that was best on the validation set."""
        return io.load(self.path / "model")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One row a report: epoch, step, split, terms in nats per example, images_per_second, lr."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [row for line in lines if (row := _parsed(line)) is not None]

    @property
    def weights(self) -> str | None:
        """The sha256 of the weights of the model; None where there is none."""
        return digest(self.path / "model" / WEIGHTS)

    @property
    def trained(self) -> bool:
        """Whether the weights of the model are those that training left there."""
        return self._are_those(self.record.get("trained"))

    @property
    def tested(self) -> dict[str, Any] | None:
        """What training measured of the model on the test set; None where that was of other weights."""
        rows = [row for row in self.metrics if row["split"] == "test"]
        return rows[-1] if rows and self._are_those(self.record.get("tested")) else None

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What `vaekit evaluate` measured of the model on the test set of its data; None where that was of other weights."""
        try:
            found = strictjson.loads((self.path / "evaluation.json").read_bytes())
        except (OSError, ValueError):
            return None
        same = isinstance(found, dict) and self._are_those(found.get("weights"))
        return {name: value for name, value in found.items() if name != "weights"} if same else None

    @property
    def figures(self) -> list[Path]:
        """The pictures."""
        return sorted(path for path in (self.path / "figures").glob("*") if path.suffix in (".png", ".gif"))

    @property
    def pictures(self) -> list[Path]:
        """Those of the figures that are of the model and its data, as they were drawn."""
        drawn = {name for name, told in self._drawn.items() if self._are_those(told.get("weights"))}
        regular = [path for path in self.figures if path.name in drawn and path.is_file() and not path.is_symlink()]
        return [path for path in regular if self._drawn[path.name].get("picture") == digest(path)]

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block in which no other process can hold the run; the hold ends with the process, however that ends.

        Raises:
            CheckpointError: where another process holds it, or it cannot be written.
        """
        self._check_writable()
        if fcntl is None:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(f"{self.path} is being trained by another process: wait for it, or stop it") from None
            yield
        finally:
            os.close(descriptor)

    def note(self, **changes: Any) -> None:
        """Write to run.json.

        Raises:
            CheckpointError: where it cannot be written.
        """
        record = {**self.record, **changes} if (self.path / "run.json").exists() else changes
        self._write("run.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def keep(self, numbers: dict[str, Any], weights: str | None) -> None:
        """Write what was measured of the model beside it, with the hash that `weights` gave before it was loaded."""
        self._write("evaluation.json", json.dumps({"weights": weights, **numbers}, indent=2, ensure_ascii=False) + "\n")

    def drew(self, paths: Iterable[Path], weights: str | None) -> None:
        """Note that these pictures are of its data and of the model, with the hash that `weights` gave before it was loaded."""
        drawn = self._drawn | {path.name: {"weights": weights, "picture": digest(path)} for path in paths}
        self._write("figures.json", json.dumps(drawn, indent=2) + "\n")

    def log(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics.

        Raises:
            CheckpointError: where it cannot be written.
        """
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(f"{self.path / 'metrics.jsonl'} cannot be written: {error.strerror}") from None

    def cut(self, epoch: int) -> None:
        """Drop the rows of later epochs, which are about to be run again, and those of the test set; and what a kill left."""
        for folder in (self.path, self.path / "model"):
            for path in folder.glob(".*"):
                if _PARTIAL.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)
        kept = [json.dumps(row) + "\n" for row in self.metrics if row["epoch"] <= epoch and row["split"] != "test"]
        self._write("metrics.jsonl", "".join(kept))

    def tabulate(self) -> None:
        """Write the metrics as a table."""
        rows = self.metrics
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(rows)
        self._write("metrics.csv", table.getvalue())

    def _check_writable(self) -> None:
        for folder in (self.path, *(self.path / name for name in ("checkpoints", "model", "figures"))):
            if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise CheckpointError(f"{folder} cannot be written: see to its permissions, or copy the run elsewhere")

    def _write(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        try:
            io.write_whole(self.path / name, lambda partial: partial.write_text(text, encoding="utf-8", newline=""))
        except OSError as error:
            raise CheckpointError(f"{self.path / name} cannot be written: {error.strerror}") from None

    def _are_those(self, weights: Any) -> bool:
        """Whether a hash is that of the weights of the model."""
        return weights is not None and weights == self.weights

    @property
    def _drawn(self) -> dict[str, dict[str, Any]]:
        """The hashes of each picture and of the weights that it is of."""
        try:
            found = strictjson.loads((self.path / "figures.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return {name: told for name, told in found.items() if isinstance(told, dict)} if isinstance(found, dict) else {}


def digest(path: Path) -> str | None:
    """The sha256 of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def new_run(output: Path, name: str | None, stem: str) -> Run:
    """A directory that was not there before.

    Args:
        output: the folder to make it in.
        name: of the run; `stem` with the time before it, and a number where that is taken, where there is none.
        stem: what the run is about.

    Raises:
        ConfigError: where it cannot be made, or is there already.
    """
    wanted = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}"
    if Path(wanted).name != wanted or wanted in (".", ".."):
        raise ConfigError(f"a run's name is one folder name, not {wanted!r}; --output says where it goes")
    path = output / wanted
    again = 1
    while True:
        try:
            path.mkdir(parents=True)
            return Run(path)
        except FileExistsError:
            if name:
                raise ConfigError(f"{path} is there already, and runs are never overwritten: choose another name") from None
            again += 1
            path = output / f"{wanted}-{again}"
        except OSError as error:
            raise ConfigError(f"no run can be made in {output}: {error.strerror}") from None


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = strictjson.loads(line)
    except ValueError:  # the last line of a run that was killed
        return None
    return row if isinstance(row, dict) and {"epoch", "split"} <= row.keys() else None


_PARTIAL = re.compile(r"\.(.+\.\d+|tmp\w{6})")
"""What io.write_whole, and safetensors for it, write to before it has its name."""

_RECORDED = ("status", "source", "data_root", "data", "config", "training")

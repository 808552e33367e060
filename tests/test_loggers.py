"""Metrics besides the run's own files, and profiles."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import vaekit

X = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
SMALL: dict[str, Any] = {"encoder": {"hidden": [8]}, "decoder": {"hidden": [8]}, "latent": {"features": 2}, "progress": False}


class Kept:
    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.closed = 0

    def log(self, row: Mapping[str, Any]) -> None:
        assert not self.closed
        self.rows.append(row)

    def close(self) -> None:
        self.closed += 1


def test_a_logger_gets_every_row_and_is_closed(tmp_path: Path) -> None:
    kept = Kept()
    run = vaekit.fit(X, **SMALL, epochs=2, output=tmp_path, loggers=[kept])
    assert kept.closed == 1
    assert [row for row in run.metrics if row["split"] != "test"] == kept.rows
    train = kept.rows[0]
    assert {"epoch", "step", "split", "loss", "nelbo", "gradient_norm", "images_per_second", "lr"} <= train.keys()
    assert train["gradient_norm"] > 0


def test_within_an_epoch_it_is_told_when_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.checkpoint._SHARE", 0)
    kept = Kept()
    run = vaekit.fit(X, **SMALL, epochs=1, batch_size=16, output=tmp_path, loggers=[kept], save_every=1e-9)
    assert [row["step"] for row in kept.rows if row["split"] == "train"] == [1, 2, 3, 4, 4]
    assert [row["step"] for row in run.metrics] == [4, 4, 4]


def test_tensorboard_holds_every_number(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = vaekit.fit(X, **SMALL, epochs=2, output=tmp_path, loggers=["tensorboard"])
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    for split in ("train", "validation"):
        rows = [row for row in run.metrics if row["split"] == split]
        for name in rows[0].keys() - {"epoch", "step", "split"}:
            found = [(event.step, event.value) for event in events.Scalars(f"{split}/{name}")]
            assert found == [(row["step"], pytest.approx(row[name], rel=1e-5)) for row in rows]


def test_a_run_that_goes_on_hides_what_it_does_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"loggers": ["tensorboard"], "progress": False}
    run = vaekit.fit(X, **SMALL, epochs=2, output=tmp_path, loggers=["tensorboard"])
    for checkpoint in sorted((run.path / "checkpoints").iterdir()):
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    again = vaekit.resume(run.path, data=X, **options)
    events = EventAccumulator(str(again.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/nelbo")] == [1, 2]


def test_an_unknown_logger_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match=r"no logger 'tensorbord' \(did you mean 'tensorboard'\?\)|did you mean"):
        vaekit.fit(X, **SMALL, output=tmp_path / "runs", loggers=["tensorbord"])
    assert not (tmp_path / "runs").exists()


def test_a_profile_is_a_trace_of_steps(tmp_path: Path) -> None:
    run = vaekit.fit(X, **SMALL, epochs=7, batch_size=16, output=tmp_path, profile=True)
    events = json.loads((run.path / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert len(steps) == 10
    assert any(event["name"] == "aten::linear" for event in events)

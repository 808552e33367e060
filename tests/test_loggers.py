"""Metrics besides the run's own files, and profiles."""

import json
import sys
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
    assert run.metrics == kept.rows
    assert [row["split"] for row in kept.rows] == [*["train", "validation"] * 2, "test"]
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
    with pytest.raises(
        vaekit.ConfigError, match=r"no logger 'tensorbord'; did you mean 'tensorboard'\? \(there are: tensorboard\)"
    ):
        vaekit.fit(X, **SMALL, output=tmp_path / "runs", loggers=["tensorbord"])
    assert not (tmp_path / "runs").exists()


def test_tensorboard_that_is_not_installed_is_told_before_there_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(vaekit.ConfigError, match=r"tensorboard is not installed: pip install 'vaekit\[tensorboard\]'"):
        vaekit.fit(X, **SMALL, output=tmp_path / "runs", loggers=["tensorboard"])
    assert not (tmp_path / "runs").exists()


class Failing(Kept):
    def log(self, row: Mapping[str, Any]) -> None:
        raise RuntimeError("the line is down")

    def close(self) -> None:
        raise ValueError("nor can it be hung up")


def test_what_a_logger_fails_of_is_what_is_told_and_the_run_has_failed(tmp_path: Path) -> None:
    kept = Kept()
    with pytest.raises(RuntimeError, match="the line is down"), pytest.warns(UserWarning, match="Failing could not be closed"):
        vaekit.fit(X, **SMALL, epochs=1, output=tmp_path, name="r", loggers=[Failing(), kept])
    assert kept.closed == 1
    assert vaekit.Run(tmp_path / "r").status == "failed"


@pytest.mark.parametrize("steps", [2, 3, 11, 15])
def test_a_profile_of_few_steps_has_those_that_there_are(steps: int, tmp_path: Path) -> None:
    run = vaekit.fit(X, **SMALL, epochs=steps, batch_size=64, output=tmp_path, profile=True)
    events = json.loads((run.path / "trace.json").read_text())["traceEvents"]
    recorded = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert len(recorded) == min(10, steps - 1)


def test_where_no_steps_are_left_to_profile_it_says_so(tmp_path: Path) -> None:
    run = vaekit.fit(X, **SMALL, epochs=1, output=tmp_path)
    with pytest.warns(UserWarning, match="not enough steps to profile"):
        vaekit.resume(run.path, data=X, progress=False, profile=True)
    assert not (run.path / "trace.json").exists()


def test_a_profile_is_a_trace_of_steps(tmp_path: Path) -> None:
    run = vaekit.fit(X, **SMALL, epochs=7, batch_size=16, output=tmp_path, profile=True)
    events = json.loads((run.path / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert len(steps) == 10
    assert any(event["name"] == "aten::linear" for event in events)

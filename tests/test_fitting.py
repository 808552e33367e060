"""Runs from beginning to end: what is on disk, what is repeated, stopped, continued and refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from vaekit.data.batches import Batches
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions
from vaekit.evaluation import bound
from vaekit.resuming import resume
from vaekit.trainer import Trainer

SMALL: dict[str, Any] = {
    "encoder": {"hidden": [16]},
    "decoder": {"hidden": [16]},
    "latent": {"features": 2},
    "data_options": {"binarize": "dynamic"},
    "progress": False,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vaekit.Run:
    return vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path_factory.mktemp("runs"))


def _digest(run: vaekit.Run) -> bytes:
    return (run.path / "model" / "model.safetensors").read_bytes()


def test_what_a_run_holds(run: vaekit.Run) -> None:
    assert {path.name for path in run.path.iterdir()} == {
        "run.json",
        "metrics.jsonl",
        "metrics.csv",
        "model",
        "checkpoints",
        "figures",
        "figures.json",
    }
    assert {path.name for path in run.figures} == {"curves.png", "samples.png", "reconstructions.png", "manifold.png"}
    pickles = [p for p in run.path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".bin", ".ckpt")]
    assert not pickles
    assert run.status == "done"
    for path in run.figures:
        with Image.open(path) as picture:
            assert min(picture.size) > 200


@pytest.mark.parametrize(
    "parts",
    [
        {"latent": "point", "prior": "vamp"},
        {"latent": "flow", "loss": "beta-tc"},
        {"latent": "flow", "loss": "dip"},
        {"likelihood": "pixelcnn", "loss": "ms-ssim"},
        {"likelihood": "pixelcnn", "loss": "vae-gan"},
        {"latent": "ladder", "loss": "rae"},
    ],
    ids=str,
)
def test_what_does_not_go_together_leaves_no_directory(parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises((vaekit.ConfigError, vaekit.ShapeError)):
        vaekit.fit("digits", **parts, data_options={"binarize": "fixed"}, epochs=1, output=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_metrics_are_rows_in_nats(run: vaekit.Run) -> None:
    splits = [row["split"] for row in run.metrics]
    assert splits == ["train", "validation"] * 3 + ["test"]
    for row in run.metrics:
        assert row["nelbo"] == pytest.approx(row["reconstruction"] + row["kl"], rel=1e-5)
    with (run.path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 7
    assert float(table[1]["nelbo"]) == run.metrics[1]["nelbo"]
    best = min(row["nelbo"] for row in run.metrics if row["split"] == "validation")
    data = load("digits", DataOptions(binarize="dynamic"))
    assert bound(run.model, Batches(data.validation, 128), seed=0)["nelbo"] == pytest.approx(best, abs=1e-3)


def test_the_record_repeats_the_run(run: vaekit.Run, tmp_path: Path) -> None:
    record = run.record
    assert record["source"] == "digits"
    assert record["config"]["data"]["classes"] == list("0123456789")
    kinds = ("context", "encoder", "latent", "prior", "decoder", "likelihood", "loss")
    again = vaekit.fit(
        record["source"],
        **{kind: record["config"][kind] for kind in kinds},
        data_options=record["data"],
        **record["training"],
        output=tmp_path,
        progress=False,
    )
    assert _digest(again) == _digest(run)
    assert [r["nelbo"] for r in again.metrics] == [r["nelbo"] for r in run.metrics]


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path, name="mine")
    with pytest.raises(vaekit.ConfigError, match="never overwritten"):
        vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path, name="mine")
    paths = {vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path).path for _ in range(2)}
    assert len(paths) == 2
    for wrong in ("a/b", "..", "/tmp/x"):
        with pytest.raises(vaekit.ConfigError, match="one folder name"):
            vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path, name=wrong)


def test_the_best_model_is_kept_not_the_last(tmp_path: Path) -> None:
    """A run that early stopping ends has a better epoch behind it than its last."""
    run = vaekit.fit("digits", **SMALL, epochs=200, lr=0.5, early_stop=2, output=tmp_path)
    validation = [row["nelbo"] for row in run.metrics if row["split"] == "validation"]
    assert min(validation) == validation[-3] < validation[-1]
    data = load("digits", DataOptions(binarize="dynamic"))
    assert bound(run.model, Batches(data.validation, 128), seed=0)["nelbo"] == pytest.approx(min(validation), abs=1e-3)


def _signalled(monkeypatch: pytest.MonkeyPatch, step: int, *signals: int) -> None:
    """Have a run signal itself in a step."""
    original = Trainer._batch

    def batch(self: Trainer, *args: Any) -> None:
        if self.steps == step:
            for number in signals:
                signal.raise_signal(number)
        original(self, *args)

    monkeypatch.setattr(Trainer, "_batch", batch)


def test_stopping_and_continuing_ends_with_the_same_weights(run: vaekit.Run, tmp_path: Path, monkeypatch) -> None:
    """Stopped by Ctrl-C in the second epoch."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        _signalled(patch, 17, signal.SIGINT)
        stopped = vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert stopped.status == "interrupted"
    assert [path.name for path in (stopped.path / "checkpoints").iterdir()] == ["000000018"]
    assert vaekit.load(stopped.path).sample(1).shape == (1, 1, 8, 8)
    assert stopped.trained
    assert stopped.tested
    assert stopped.pictures == stopped.figures
    continued = resume(stopped.path, progress=False)
    assert continued.status == "done"
    assert _digest(continued) == _digest(run)
    kept = [{k: v for k, v in row.items() if k != "images_per_second"} for row in continued.metrics]
    assert kept == [{k: v for k, v in row.items() if k != "images_per_second"} for row in run.metrics]
    assert continued.trained
    assert continued.pictures == continued.figures


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vaekit.stopping._ONE_PRESS", -1)
    monkeypatch.setattr("vaekit.checkpoint._SHARE", 0)
    with monkeypatch.context() as patch:
        _signalled(patch, 17, signal.SIGINT, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path, name="r", save_every=1e-9)
    run = vaekit.Run(tmp_path / "r")
    assert run.status == "interrupted"
    assert max(path.name for path in (run.path / "checkpoints").iterdir()) == "000000017"
    assert resume(run.path, progress=False).status == "done"


def test_sigterm_saves_and_is_passed_on(tmp_path: Path, monkeypatch) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        _signalled(monkeypatch, 17, signal.SIGTERM)
        run = vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert run.status == "interrupted"
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["000000018"]


def test_ctrl_c_before_anything_good_leaves_no_model(tmp_path: Path, monkeypatch) -> None:
    original = Trainer._batch

    def spoiled(self: Trainer, *args: Any) -> None:
        original(self, *args)
        with torch.no_grad():
            next(self.step.model.decoder.parameters()).fill_(float("nan"))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "_batch", spoiled)
    with pytest.raises(vaekit.TrainingError, match="weights are not finite after step 1"):
        vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path, name="r")
    run = vaekit.Run(tmp_path / "r")
    assert run.status == "failed"
    assert not (run.path / "model").exists()


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path)
    with run.held(), pytest.raises(vaekit.CheckpointError, match="being trained by another process"):
        resume(run.path, progress=False)


def test_a_changed_data_set_is_not_continued_on(tmp_path: Path) -> None:
    x = torch.rand(40, 1, 4, 4).round()
    run = vaekit.fit(x, **{**SMALL, "data_options": {}}, epochs=1, output=tmp_path)
    with pytest.raises(vaekit.CheckpointError, match=r"vaekit.resume\(run, data="):
        resume(run.path)
    with pytest.raises(vaekit.CheckpointError, match="examples was 33 and is 17"):
        resume(run.path, data=x[:20], progress=False)
    with pytest.raises(vaekit.CheckpointError, match="is not a run"):
        resume(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run = vaekit.fit("digits", **SMALL, epochs=1, output=tmp_path)
    record = run.record
    record["config"]["latent"]["features"] = 3
    record["training"]["lr"] = 0.5
    run.note(**record)
    differing = r"config.latent.features 2 there, 3 here; training.lr 0.001 there, 0.5 here"
    with pytest.raises(vaekit.CheckpointError, match=f"is of something else: {differing}"):
        resume(run.path, progress=False)


def test_a_run_on_files_is_continued_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", (np.random.default_rng(0).random((40, 4, 4)) > 0.5))
    run = vaekit.fit("npy:x.npy", **{**SMALL, "data_options": {}}, epochs=1, output=tmp_path)
    monkeypatch.chdir("/")
    assert resume(run.path, progress=False).status == "done"


def test_a_step_that_is_not_finite_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vaekit.checkpoint._SHARE", 0)
    original = Trainer._batch

    def spoiled(self: Trainer, *args: Any) -> None:
        original(self, *args)
        if self.steps == 15:
            assert vaekit.Run(tmp_path / "bad").trained  # which a run that is killed here has to have said
            with torch.no_grad():
                next(self.step.model.decoder.parameters()).fill_(float("nan"))

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_batch", spoiled)
        with pytest.raises(vaekit.TrainingError, match="weights are not finite after step 15"):
            vaekit.fit("digits", **SMALL, epochs=3, output=tmp_path, name="bad", save_every=1e-9)
    run = vaekit.Run(tmp_path / "bad")
    assert run.status == "failed"
    assert run.tested is None
    assert not run.pictures
    assert max(p.name for p in (run.path / "checkpoints").iterdir()) == "000000014"
    assert torch.isfinite(vaekit.load(run.path).sample(4)).all()
    assert resume(run.path, progress=False).status == "done"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"encoder": "lsmt"}, vaekit.UnknownPart, "did you mean 'lstm'"),
        ({"latent": {"features": -1}}, vaekit.ConfigError, "features"),
        ({"epochs": 0}, vaekit.ConfigError, "epochs"),
        ({"data_options": {"binarise": "dynamic"}}, vaekit.ConfigError, "did you mean 'binarize'"),
        ({"recipe": "nope"}, vaekit.ConfigError, "no recipe 'nope'"),
        ({"context": {"name": "labels", "classes": 5}}, vaekit.ConfigError, "digits has 10 classes"),
        ({"data_options": {}, "likelihood": {"name": "categorical", "levels": 16}}, vaekit.DataError, "outside the support"),
        ({"device": "warp"}, vaekit.ConfigError, "no device"),
    ],
)
def test_what_is_wrong_is_said_before_a_directory_is_made(change: dict, error, said: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        vaekit.fit("digits", **{**SMALL, "epochs": 1, **change}, output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_conditional_model_knows_its_classes(tmp_path: Path) -> None:
    run = vaekit.fit("digits", **{**SMALL, "context": "labels", "prior": "conditional"}, epochs=2, output=tmp_path)
    model = run.model
    assert model.config is not None
    assert model.config.context["classes"] == 10
    assert torch.equal(model.sample(3, y=7, seed=0), model.sample(3, y="7", seed=0))
    assert not torch.equal(model.sample(3, y=7, seed=0), model.sample(3, y=1, seed=0))
    assert model.sample(5).shape == (5, 1, 8, 8)
    for wrong in ("ten", 10, -1, 1.5):
        with pytest.raises(vaekit.ConfigError, match="conditional on one of 10 classes"):
            model.sample(2, y=wrong)
    with pytest.raises(vaekit.ConfigError, match="none was given"):
        model.encode(torch.rand(1, 1, 8, 8))
    with pytest.raises(vaekit.ConfigError, match="2 labels for 3 examples"):
        model.sample(3, y=[1, 2])


def test_data_without_pictures_are_trained_on_too(tmp_path: Path) -> None:
    run = vaekit.fit(
        torch.randn(60, 5), likelihood="gaussian", epochs=2, output=tmp_path, progress=False, latent={"features": 2}
    )
    assert [path.name for path in run.figures] == ["curves.png"]


def test_ctrl_c_saves_and_exits_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaekit", "train", "digits", "encoder.hidden=[16]", "--epochs", "100000", "--name", "r"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        metrics = tmp_path / "runs" / "r" / "metrics.jsonl"
        until = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count("\n") > 4):
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "python -m vaekit resume runs/r" in out
    assert "Traceback" not in err
    assert json.loads((tmp_path / "runs" / "r" / "run.json").read_text())["status"] == "interrupted"
    assert vaekit.load(tmp_path / "runs" / "r").sample(1).shape == (1, 1, 8, 8)

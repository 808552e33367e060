"""Published numbers: what counts as reproduced, and that every one of them can be trained and measured."""

import json
import math
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit import reproduction
from vaekit.cli import app
from vaekit.data.batches import Batches
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions
from vaekit.recipes import Recipe
from vaekit.reproduction import Comparison, Measured, Reproduction
from vaekit.training import TrainingOptions


@pytest.mark.parametrize(
    ("found", "low", "high", "holds"),
    [
        *[(97.5, 96.1, 98.1, True), (98.2, 96.1, 98.1, False), (95.0, 96.1, 98.1, False)],
        *[(0.3, 0.1, None, True), (0.05, 0.1, None, False)],
        *[(math.nan, 0.0, None, False), (math.nan, 0.0, 1.0, False)],
    ],
)
def test_a_number_is_reproduced_within_its_range(found: float, low: float, high: float | None, holds: bool) -> None:
    assert Comparison("it", 97.1, found, None, low, high).holds == holds


def test_the_linear_gaussian_is_reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    app(["reproduce", "linear-gaussian", "--quiet", "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert [row["reproduced"] for row in said["comparisons"]] == [True] * 4
    nll, largest, nelbo, apart = said["comparisons"]
    assert largest["error"] is None
    assert 0 < nll["error"] < nelbo["error"] < apart["error"] < 0.01  # of differences for the same x, where it is
    assert abs(apart["found"] - apart["reference"]) < 4 * apart["error"]
    stored = json.loads((Path(said["folder"]) / "reproduction.json").read_text())
    assert stored["comparisons"] == said["comparisons"]

    again = reproduction.reproduce("linear-gaussian", progress=False)  # finds the run that is there
    assert again.holds
    assert [row.found for row in again.comparisons] == [row["found"] for row in said["comparisons"]]

    wanted = reproduction.find("linear-gaussian")
    changed = {"vae": wanted.runs["vae"].but(None, {"decoder": {"hidden": [3]}}, {}, {"lr": 0.02})}
    monkeypatch.setitem(reproduction._ALL, "linear-gaussian", Reproduction(**{**vars(wanted), "runs": changed}))
    with pytest.raises(
        vaekit.ConfigError, match=r"vae is a run of something else \(decoder.hidden .*; lr 0.01 there, 0.02 here"
    ):
        reproduction.reproduce("linear-gaussian", progress=False)


def test_a_number_that_is_missed_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """By a model that was hardly trained; and nothing is said of one that was cut short on purpose."""
    wanted = reproduction.find("linear-gaussian")
    hardly = {"vae": wanted.runs["vae"].but(None, {}, {}, {"epochs": 1, "lr": 1e-4})}
    monkeypatch.setitem(reproduction._ALL, "hardly", Reproduction(**{**vars(wanted), "name": "hardly", "runs": hardly}))
    with pytest.raises(SystemExit) as stopped:
        app(["reproduce", "hardly", "--quiet", "--output", str(tmp_path)])
    assert stopped.value.code == 1
    said = capsys.readouterr().out
    assert "not reproduced" in said
    assert "published" not in said  # its numbers are computed

    app(["reproduce", "hardly", "--quiet", "--output", str(tmp_path), "--epochs", "1"], standalone_mode=False)
    verdicts = capsys.readouterr().out
    assert "too short to say" in verdicts
    assert "reproduced" not in verdicts
    assert not reproduction.reproduce("hardly", epochs=1, output=tmp_path, progress=False).holds


def test_an_order_must_be_clear_of_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    log_p = -90 + 20 * torch.randn(1000, generator=generator).double()
    gain = 0.5 + torch.randn(1000, generator=generator).double()
    nothing = torch.zeros(1)

    def compared(k5: torch.Tensor, k50: torch.Tensor) -> list[bool]:
        logs = {"k1": log_p, "k5": k5, "k50": k50}
        return [c.holds for c in reproduction._ordered({k: Measured(None, nothing, 0.0, v) for k, v in logs.items()})]

    assert compared(log_p + gain, log_p + 2 * gain) == [True, True]
    assert compared(log_p + gain, log_p) == [True, False]
    assert compared(log_p + gain - gain.mean(), log_p + 2 * gain) == [False, True]


@pytest.mark.parametrize("name", reproduction.names())
def test_every_one_can_be_trained(name: str) -> None:
    wanted = reproduction.find(name)
    assert wanted.setting.keys() >= {"data", "split", "selection", "k"}
    for recipe in wanted.runs.values():
        assert isinstance(recipe, Recipe)
        TrainingOptions(**recipe.training)
        DataOptions(**recipe.data)
        shape = (1, 28, 28) if recipe.source == "mnist" else tuple(recipe.source.shape[1:])
        model, loss = vaekit.build(vaekit.Config(data_shape=shape, **recipe.parts))
        loss(model, torch.rand(4, *shape).round(), torch.zeros(4, 0)).loss.backward()


@pytest.mark.parametrize("name", ["static-mnist-z128", "static-mnist-z40", "iwae-order"])
def test_from_the_data_to_the_verdict(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few images in place of MNIST, and one epoch."""
    wanted = reproduction.find(name)
    images = torch.randint(0, 256, (200, 28, 28), dtype=torch.uint8)
    small = {label: recipe.but(images, {}, {"validation": 20}, {}) for label, recipe in wanted.runs.items()}
    monkeypatch.setitem(reproduction._ALL, name, Reproduction(**{**vars(wanted), "runs": small, "k": 3, "n": wanted.n and 7}))
    seen = []
    measured = reproduction.Measured
    monkeypatch.setattr(reproduction, "Measured", lambda *given: seen.append(measured(*given)) or seen[-1])
    found = reproduction.reproduce(name, epochs=1, output=tmp_path, progress=False)
    assert all(math.isfinite(row.found) for row in found.comparisons)
    assert {path.name for path in found.path.iterdir() if path.is_dir()} == set(wanted.runs)
    assert json.loads((found.path / "reproduction.json").read_text())["epochs"] == 1
    test = load(images, DataOptions(**small[next(iter(small))].data)).test
    for one in seen:
        want, _ = next(iter(Batches(test, 7 if wanted.n else len(test))))
        assert torch.equal(one.x.cpu(), want)
        assert len(one.log_p) == len(want)


def test_what_cannot_be_reproduced_is_refused() -> None:
    with pytest.raises(vaekit.ConfigError, match=r"nothing to reproduce is called 'iwae-oder'; did you mean 'iwae-order'\?"):
        reproduction.reproduce("iwae-oder")

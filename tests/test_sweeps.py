"""Sweeps: every combination once, continued where they stopped, and refused before any work."""

import csv
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

import vaekit
from vaekit.cli import app, overrides
from vaekit.figures import rate_distortion
from vaekit.recipes import Recipe
from vaekit.resuming import continued

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
SMALL = {"epochs": 1, "progress": False, "data_options": {"binarize": "fixed", "validation": 100, "test": 100}}


def test_every_combination_is_run_once(tmp_path: Path) -> None:
    grid = {"loss.beta": [0.5, 2.0], "encoder": ["mlp", "lstm"], "encoder.dense": [[8]]}
    with pytest.raises(vaekit.ConfigError, match=r"encoder=mlp encoder.dense=\[8\]: encoder 'mlp' has no option 'dense'"):
        vaekit.sweep("digits", grid, output=tmp_path, **SMALL)
    assert not any(tmp_path.iterdir())

    grid = {"loss.beta": [0.5, 2.0], "encoder": ["mlp", "lstm"]}
    found = vaekit.sweep("digits", grid, seeds=2, output=tmp_path, **SMALL)
    assert [(row["values"]["loss.beta"], row["values"]["encoder"], row["seed"]) for row in found.rows] == [
        (beta, encoder, seed) for beta in (0.5, 2.0) for encoder in ("mlp", "lstm") for seed in (0, 1)
    ]
    run = vaekit.Run(found.path / "loss.beta=2.0-encoder=lstm-seed1")
    assert run.model.config.loss["beta"] == 2.0
    assert run.model.config.encoder["name"] == "lstm"
    assert run.record["training"]["seed"] == 1
    assert found.rows[-1]["nelbo"] == [row for row in run.metrics if row["split"] == "test"][-1]["nelbo"]

    pair = [row["nelbo"] for row in found.rows[:2]]
    first, *_ = found.means()
    assert (first["values"], first["seeds"]) == ({"loss.beta": 0.5, "encoder": "mlp"}, 2)
    assert (first["nelbo"], first["nelbo_std"]) == (pytest.approx(mean(pair)), pytest.approx(stdev(pair)))

    with (found.path / "sweep.csv").open() as file:
        assert [float(row["nelbo"]) for row in csv.DictReader(file)] == [row["nelbo"] for row in found.rows]
    assert json.loads((found.path / "sweep.json").read_text())["rows"] == list(found.rows)


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vaekit.resuming

    fit, runs = vaekit.resuming.fit, []

    def stopped(*args, **given):
        runs.append(given["name"])
        if len(runs) == 2:
            raise KeyboardInterrupt
        return fit(*args, **given)

    monkeypatch.setattr(vaekit.resuming, "fit", stopped)
    grid = {"latent.features": [1, 2, 3]}
    with pytest.raises(KeyboardInterrupt):
        vaekit.sweep("digits", grid, output=tmp_path, **SMALL)
    found = vaekit.sweep("digits", grid, output=tmp_path, **SMALL)
    assert runs == [f"latent.features={n}-seed0" for n in (1, 2, 2, 3)]
    assert [row["status"] for row in found.rows] == ["done"] * 3
    again = vaekit.sweep("digits", grid, output=tmp_path, **SMALL)
    assert again.rows == found.rows
    assert len(runs) == 4


def test_a_run_that_fails_is_a_row(tmp_path: Path) -> None:
    found = vaekit.sweep("digits", {"likelihood": ["gaussian"]}, output=tmp_path, lr=100.0, **{**SMALL, "epochs": 60})
    [row] = found.rows
    assert (row["status"], row["nelbo"]) == ("failed", None)
    assert "is not finite" in row["error"]
    assert found.means()[0]["seeds"] == 0


def test_distortions_under_different_likelihoods_are_not_drawn_together(tmp_path: Path) -> None:
    found = vaekit.sweep("digits", {"likelihood": ["bernoulli", "gaussian"]}, output=tmp_path, **SMALL)
    assert found.figure is None
    assert not list(tmp_path.rglob("rate-distortion.png"))


def test_a_recipe_brings_its_combinations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("vaekit.figures.rate_distortion", lambda points: drawn.extend(points) or rate_distortion(points))
    combinations = [{"loss.beta": 0.5, "latent.features": 3}, {"loss.beta": 2.0}]
    training = {"epochs": 9, "batch_size": 64}
    given = {"source": "digits", "data": SMALL["data_options"], "training": training, "sweep": combinations}
    recipe = Recipe(**given, parts={"latent": {"features": 2}}, short={"epochs": 1})
    monkeypatch.setattr("vaekit.recipes.load", lambda name: {"mine": recipe}[name])
    found = vaekit.sweep(recipe="mine", short=True, seeds=2, output=tmp_path, progress=False)
    assert [row["values"] for row in found.rows[::2]] == [row["values"] for row in found.rows[1::2]] == combinations
    assert [label for _, _, label in drawn] == ["beta=0.5 features=3", "", "beta=2.0", ""]
    assert [(kl, reconstruction) for kl, reconstruction, _ in drawn] == [
        (row["kl"], row["reconstruction"]) for row in found.rows
    ]
    runs = [vaekit.Run(found.path / row["run"]) for row in found.rows[::2]]
    assert [(run.model.config.loss["beta"], run.model.config.latent["features"]) for run in runs] == [(0.5, 3), (2.0, 2)]
    assert {run.record["training"]["epochs"] for run in runs} == {1}
    assert {run.record["training"]["batch_size"] for run in runs} == {64}
    assert [row["values"] for row in found.means()] == combinations
    with (found.path / "sweep.csv").open() as file:
        assert [row["latent.features"] for row in csv.DictReader(file)] == ["3", "3", "", ""]


def test_values_that_look_alike_have_runs_of_their_own(tmp_path: Path) -> None:
    grid = {"encoder.hidden": [[6, 4], [64], [6, 4, 4]]}
    found = vaekit.sweep("digits", grid, output=tmp_path, **SMALL)
    assert len({row["run"] for row in found.rows}) == 3
    assert len({row["nelbo"] for row in found.rows}) == 3
    assert all(row["run"].startswith("encoder.hidden=-6") for row in found.rows)


def _recipe(file: Path, features: int) -> str:
    parts, training = {"latent": {"features": features}}, {"epochs": 1}
    given = {
        "source": "digits",
        "data": SMALL["data_options"],
        "parts": parts,
        "training": training,
        "sweep": [{"loss.beta": 2}],
    }
    file.write_text(json.dumps(given))
    return str(file)


def test_a_recipe_that_says_something_else_is_another_sweep(tmp_path: Path) -> None:
    given = {"recipe": _recipe(tmp_path / "mine.json", 2), "output": tmp_path, "progress": False}
    first, named = vaekit.sweep(**given), vaekit.sweep(**given, name="s")
    assert vaekit.sweep(**given).path == first.path
    _recipe(tmp_path / "mine.json", 3)
    again = vaekit.sweep(**given)
    assert again.path != first.path
    assert vaekit.Run(again.path / again.rows[0]["run"]).model.config.latent["features"] == 3
    with pytest.raises(vaekit.ConfigError, match=r"seed0 is a run of something else \(latent.features 2 there, 3 here\)"):
        vaekit.sweep(**given, name="s")
    _recipe(tmp_path / "mine.json", 2)
    assert vaekit.sweep(**given, name="s").rows == named.rows


@pytest.mark.parametrize("values", [{"epochs": 2}, {"lr": 0.01}, {"device": "cpu"}], ids=str)
def test_a_run_that_is_done_was_trained_as_is_asked(values: dict, tmp_path: Path) -> None:
    recipe = Recipe(source="digits", data=SMALL["data_options"], training={"epochs": 1})
    continued("r", tmp_path, recipe, progress=False)
    if "device" in values:
        assert continued("r", tmp_path, recipe.but(None, {}, {}, values)).status == "done"
        return
    said = f"r is a run of something else .* there, {next(iter(values.values()))} here.*: choose another --name or --output"
    with pytest.raises(vaekit.ConfigError, match=said):
        continued("r", tmp_path, recipe.but(None, {}, {}, values))


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (
            {"likelihood": ["gaussian", "bernoulli"]},
            "likelihood=bernoulli: -.* is outside the support of likelihood 'bernoulli'",
        ),
        ({"likelihood": ["gaussian"], "context": ["none", "labels"]}, "context=labels: context 'labels' needs labels"),
    ],
    ids=str,
)
def test_data_are_checked_for_every_combination_before_any_work(grid: dict, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
    with pytest.raises(vaekit.DataError, match=said):
        vaekit.sweep(f"npy:{tmp_path / 'x.npy'}", grid, output=tmp_path / "runs", epochs=1, progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_name_is_of_one_sweep(tmp_path: Path) -> None:
    vaekit.sweep("digits", {"latent.features": [2]}, output=tmp_path, name="s", **SMALL)
    with pytest.raises(vaekit.ConfigError, match="s is a sweep of something else: choose another name"):
        vaekit.sweep("digits", {"latent.features": [3]}, output=tmp_path, name="s", **SMALL)


@pytest.mark.parametrize(
    ("grid", "given", "said"),
    [
        ({}, {}, "nothing to sweep: give values, such as loss.beta=0,1,12"),
        ({"loss.beta": []}, {}, "nothing to sweep"),
        ({"epochs": [1, 2]}, {}, "'epochs' cannot be swept: give a part, or an option of one"),
        ({"loss.beta": [1]}, {"seeds": 0}, "0 seeds: at least one is needed"),
        ({"loss.beta": [1]}, {"jobs": 0}, "0 jobs: at least one is needed"),
        ({"loss.beta": [1]}, {"seed": 3}, "a sweep counts its seeds from 0"),
        ({"loss.beta": list(range(101)), "latent.features": list(range(1, 102))}, {}, "10,201 runs: 10,000 are the most"),
        ({"loss.beta": [1, -1]}, {}, "loss.beta=-1: loss 'elbo': beta: input should be greater"),
        ({"encoder": ["lsmt"]}, {}, "encoder=lsmt: unknown encoder 'lsmt'; did you mean 'lstm'"),
        ({"encoder": [3]}, {}, "encoder=3: config: encoder: a part's name is lower-case"),
        ({"loss.beta": [1, 1]}, {}, "loss.beta=1: the same model as loss.beta=1: leave out one, and say by seeds how often"),
        ({"loss.beta": [1, 2, 1.0]}, {}, "loss.beta=1.0: the same model as loss.beta=1:"),
        ({"encoder": ["mlp", {"name": "mlp"}]}, {}, "the same model as encoder=mlp:"),
        ({"loss.beta": [1]}, {"device": "meta"}, "give auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_any_work(grid, given, said: str, tmp_path: Path) -> None:
    with pytest.raises(vaekit.VaekitError, match=said):
        vaekit.sweep("digits", grid, output=tmp_path, **{**SMALL, **given})
    assert not any(tmp_path.iterdir())


def test_a_recipe_without_values_has_nothing_to_sweep(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"source": "digits", "sweep": [{}]}')
    with pytest.raises(vaekit.ConfigError, match="nothing to sweep: give values"):
        vaekit.sweep(recipe=str(file), output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,1,12", [0, 1, 12]),
        ("mlp,lstm", ["mlp", "lstm"]),
        ("[64],[64,32]", [[64], [64, 32]]),
        ('"a,b",c', ["a,b", "c"]),
        ('{"name":"lstm","hidden":3},mlp', [{"name": "lstm", "hidden": 3}, "mlp"]),
        ("true", [True]),
    ],
)
def test_values_with_commas_between(text: str, values: list) -> None:
    assert overrides.several(text) == values


def test_from_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "digits", "data.validation=100", "data.test=100", "latent.features=1,2", "--epochs", "1", "--quiet"]
    app([*line, "--jobs", "2", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert [row["values"] for row in found["means"]] == [{"latent.features": 1}, {"latent.features": 2}]
    app(line, standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["latent.features", "seeds", "negative", "ELBO", "reconstruction", "KL"]
    assert f"{found['means'][1]['nelbo']:.2f}" in lines[2]
    assert [Path(line).name for line in lines[-2:]] == ["sweep.csv", "rate-distortion.png"]
    assert Path(lines[-1]).is_file()


def test_it_takes_the_options_of_training(tmp_path: Path, monkeypatch, capsys) -> None:
    train, sweep = ({option for p in COMMANDS[name].params for option in p.opts} for name in ("train", "sweep"))
    assert train - sweep == {"--seed", "--strategy", "--save-every", "--log", "--profile"}
    monkeypatch.chdir(tmp_path)
    line = ["sweep", "digits", "data.validation=100", "data.test=100", "loss.beta=2", "--epochs", "2", "--quiet", "--json"]
    steps = ["--schedule", "steps", "--milestones", "1", "--gamma", "0.5"]
    app([*line, *steps, "--optimizer", "rmsprop", "--clip", "9", "--select", "bound"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    told = vaekit.Run(Path(found["sweep"]) / found["rows"][0]["run"]).record["training"]
    assert (told["schedule"], told["milestones"], told["gamma"]) == ("steps", [1], 0.5)
    assert (told["optimizer"], told["clip"], told["select"]) == ("rmsprop", 9.0, "bound")

"""Another prior for a trained model: what it gains, what stays as it is, how it goes on, and what is refused."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import vaekit
from vaekit import cli, recipes, resuming
from vaekit.config import DEFAULTS
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions
from vaekit.starting import new_model

FAR = {"name": "elbo", "beta": 0.01}
"""A loss under which codes lie far from the standard normal, so that there is much to gain."""
PRIOR = {"name": "mixture", "components": 30}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vaekit.Run:
    return vaekit.fit(
        "digits",
        encoder={"name": "conv", "width": 4, "norm": "batch"},
        decoder={"hidden": [32]},
        latent={"features": 2},
        loss=FAR,
        data_options={"binarize": "dynamic"},
        epochs=4,
        lr=0.005,
        output=tmp_path_factory.mktemp("runs"),
        progress=False,
    )


def _refit(run: vaekit.Run, output: Path, **given: Any) -> vaekit.Run:
    asked: dict[str, Any] = {"prior": PRIOR, "epochs": 6, "lr": 0.02, "output": output, "progress": False, **given}
    return vaekit.refit(run.path, **asked)


@pytest.fixture(scope="module")
def again(run: vaekit.Run, tmp_path_factory: pytest.TempPathFactory) -> vaekit.Run:
    return _refit(run, tmp_path_factory.mktemp("again"), name="again")


def _test(run: vaekit.Run) -> dict[str, Any]:
    return next(row for row in reversed(run.metrics) if row["split"] == "test")


def test_the_bound_gains_what_the_kl_loses(run: vaekit.Run, again: vaekit.Run) -> None:
    before, after = _test(run), _test(again)
    assert after["reconstruction"] == pytest.approx(before["reconstruction"], abs=1e-3)
    assert after["nelbo"] < before["nelbo"] - 5


def test_the_importance_weighted_likelihood_gains_too(run: vaekit.Run, again: vaekit.Run) -> None:
    test = vaekit.Batches(load("digits", DataOptions(binarize="dynamic"), None).test, 100)
    before, after = (vaekit.evaluate(one.model, test, k=100)["nll"] for one in (run, again))
    assert after < before - 1


@pytest.mark.slow
def test_the_margin_on_mnist_that_the_documentation_states(tmp_path: Path) -> None:
    root = os.environ.get("VAEKIT_DATA")
    if root is None or not (Path(root) / "MNIST").is_dir():
        pytest.skip("VAEKIT_DATA names no data root with MNIST")
    parts: dict[str, Any] = {"encoder": {"hidden": [400]}, "decoder": {"hidden": [400]}, "latent": {"features": 16}}
    plain = vaekit.fit("mnist", **parts, data_options={"binarize": "dynamic"}, data_root=root, output=tmp_path, epochs=3)
    test = vaekit.Batches(load("mnist", DataOptions(binarize="dynamic"), root).test, 200)
    before = vaekit.evaluate(plain.model, test, k=100, n=1000)["nll"]
    for prior, margin in {"mixture": 1.5, "vamp": 0.5, "flow": 2.0}.items():
        fitted = vaekit.refit(plain.path, prior=prior, data_root=root, output=tmp_path, epochs=3)
        assert vaekit.evaluate(fitted.model, test, k=100, n=1000)["nll"] < before - margin


def test_nothing_moves_but_the_prior(run: vaekit.Run, again: vaekit.Run) -> None:
    before, after = run.model.state_dict(), again.model.state_dict()
    assert {name for name in after if name not in before} == {name for name in after if name.startswith("prior.")}
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert any("running_mean" in name for name in before)


def test_it_is_a_run_of_its_own_that_says_where_it_is_from(run: vaekit.Run, again: vaekit.Run) -> None:
    record = again.record
    assert record["start"] == str(run.path)
    assert run.record["start"] is None
    assert (record["source"], record["data"]) == (run.record["source"], run.record["data"])
    assert record["config"]["loss"] == {"name": "prior-nll", "samples": 1}
    assert record["config"]["prior"]["components"] == 30
    assert again.status == "done"
    assert again.model.sample(5, seed=0).shape == (5, 1, 8, 8)


def test_one_that_was_stopped_before_its_first_checkpoint_goes_on(run: vaekit.Run, again: vaekit.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    record = {**again.record, "status": "running"}
    (copy / "run.json").write_text(json.dumps(record))
    continued = vaekit.resume(copy, progress=False)
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, continued.model.state_dict()[name]), name


def test_one_whose_beginning_has_changed_does_not_go_on(again: vaekit.Run, tmp_path: Path) -> None:
    start = tmp_path / "start"
    vaekit.build(vaekit.load(again.record["start"]).config)[0].save(start)  # of other weights
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "run.json").write_text(json.dumps({**again.record, "status": "running", "start": str(start)}))
    with pytest.raises(vaekit.CheckpointError, match="start, which the run began with, has changed since"):
        vaekit.resume(copy, progress=False)


def test_it_is_not_taken_for_a_run_that_was_trained_from_the_beginning(again: vaekit.Run) -> None:
    config = again.model.config
    parts = {kind: config.part(kind) for kind in DEFAULTS}
    recipe = recipes.Recipe(source="digits", parts=parts, data=again.record["data"], training=again.record["training"])
    with pytest.raises(vaekit.ConfigError, match=r"is a run of something else .*start .* there, None here"):
        resuming.existing(again.path, recipe)


def test_one_with_a_checkpoint_goes_on_without_the_model_that_it_began_with(again: vaekit.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(again.path, copy)
    vaekit.Run(copy).note(start=str(tmp_path / "gone"), status="interrupted")
    assert vaekit.resume(copy, progress=False).status == "done"


def test_a_prior_begins_with_examples_of_the_training_set() -> None:
    data = load("digits", DataOptions(), None)
    parts = {"prior": {"name": "vamp", "components": 7}}
    model, _ = new_model(data, parts, seed=3)
    known = {tuple(x.flatten().tolist()) for x in data.train.x.float() / 255}
    assert {tuple(x.tolist()) for x in model.prior.inputs.detach().flatten(1)} <= known
    twin, _ = new_model(data, parts, seed=3)
    other, _ = new_model(data, parts, seed=4)
    assert torch.equal(model.prior.inputs, twin.prior.inputs)
    assert not torch.equal(model.prior.inputs, other.prior.inputs)


def test_a_prior_begins_with_examples_as_training_sees_them() -> None:
    model, _ = new_model(load("digits", DataOptions(binarize="dynamic"), None), {"prior": {"name": "vamp", "components": 7}})
    assert model.prior.inputs.detach().unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prior": "normal"}, "loss 'prior-nll' trains the prior alone, and prior 'normal' has nothing to train"),
        ({"prior": "mixtrue"}, "unknown prior 'mixtrue'; did you mean 'mixture'?"),
        ({"prior": "uniform"}, "prior 'uniform'"),
        ({"loss": "elbo"}, "loss 'elbo' trains more than the prior: in a refit take prior-nll, or train anew"),
        ({"data": torch.rand(50, 1, 6, 6)}, r"data has examples of shape \(1, 6, 6\), this model takes \(1, 8, 8\)"),
    ],
)
def test_what_cannot_be_fitted(run: vaekit.Run, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(vaekit.VaekitError, match=said.replace("?", r"\?")):
        _refit(run, tmp_path, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prior=mixture", "encoder=mlp"], "encoder stays as it is in a refit: give prior=NAME and its options, or train anew"),
        (["prior=mixture", "data.grey=true"], "data.grey stays as it is in a refit"),
        ([], "which prior? prior=NAME"),
    ],
)
def test_what_the_command_refuses(run: vaekit.Run, arguments: list[str], said: str) -> None:
    with pytest.raises(vaekit.ConfigError) as caught:
        cli.app(["refit", str(run.path), *arguments], standalone_mode=False)
    assert str(caught.value).startswith(said)


def test_the_command(run: vaekit.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", "1", "--output", str(tmp_path), "--name", "r", "--quiet", "--json"]
    cli.app(["refit", str(run.path), "prior=mixture", "prior.components=3", *options], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "done"
    assert vaekit.load(told["run"]).prior.spec()["components"] == 3
    cli.app(["info", told["run"]], standalone_mode=False)
    assert f"{run.path}, all of which but the prior is as it was" in capsys.readouterr().out

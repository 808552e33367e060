"""Recipes: each builds for its data, at both lengths and in every combination; and what the source projects minimised."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import vaekit
from vaekit import recipes
from vaekit.cli import app
from vaekit.data.transform import DataOptions
from vaekit.recipes import Recipe
from vaekit.training import TrainingOptions

SHAPES = {"celeba": (3, 64, 64), "cifar10": (3, 32, 32)}


def test_merging_a_recipe() -> None:
    recipe = Recipe(
        source="mnist", parts={"encoder": {"name": "lstm", "hidden": 28}, "prior": "normal"}, training={"epochs": 5}
    )
    changed = recipe.but(None, {"encoder": {"layers": 2}, "prior": {"name": "other"}, "loss": None}, {}, {"lr": 0.1})
    assert changed.source == "mnist"
    assert changed.parts == {"encoder": {"name": "lstm", "hidden": 28, "layers": 2}, "prior": {"name": "other"}}
    assert changed.training == {"epochs": 5, "lr": 0.1}
    assert recipe.but("digits", {"encoder": "conv"}, {}, {}).parts["encoder"] == "conv"
    assert recipe.but(None, {"encoder": "lstm"}, {}, {}).parts["encoder"] == {"name": "lstm", "hidden": 28}


@pytest.mark.parametrize("name", recipes.names())
def test_it_builds_in_every_combination_and_is_shorter_when_short(name: str) -> None:
    recipe = recipes.start(name)
    shape = SHAPES.get(recipe.source, (1, 28, 28))
    DataOptions(**recipe.data)
    for values in ({}, *recipe.sweep):
        parts: dict = {}
        for what, value in values.items():
            kind, _, option = what.partition(".")
            parts.setdefault(kind, {})[option] = value
        model, loss = vaekit.build(vaekit.Config(data_shape=shape, **recipe.but(None, parts, {}, {}).parts))
        c = model.context(torch.zeros(2).long(), 2)
        loss(model, torch.rand(2, *shape).round(), c).loss.backward()
    long, short = (TrainingOptions(**recipes.start(name, short).training) for short in (False, True))
    assert short.epochs < long.epochs
    assert {**long.model_dump(), "epochs": 0} == {**short.model_dump(), "epochs": 0}


def test_a_short_length_is_of_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match="a short length is of a recipe: name one, or say how many epochs"):
        vaekit.fit("digits", short=True, output=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"source": "digits", "parts": {"latent": {"features": 3}}, "training": {"epochs": 1}}')
    run = vaekit.fit(recipe=str(file), output=tmp_path, progress=False)
    assert run.model.config.latent["features"] == 3
    assert run.record["source"] == "digits"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"sources": "digits"}', "recipe has no 'sources'; did you mean 'source'?"),
        ('{"parts": []}', "parts: input should be a valid dictionary"),
        ('{"parts": {"encodr": "mlp"}}', "parts: no kind 'encodr'; did you mean 'encoder'? (there are: context, encoder,"),
        ('{"parts": {"data_shape": [3]}}', "parts: no kind 'data_shape'"),
        ('{"sweep": [{"loss.beta": 1}, 2]}', "sweep.1: input should be a valid dictionary"),
        ('["digits"]', "an object is wanted, with summary, source, parts"),
        ('{"source": "a", "source": "b"}', "source"),
        ("{", "is not valid JSON: "),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_recipe_that_is_none_is_one_error(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(vaekit.ConfigError) as caught:
        vaekit.fit(recipe=str(file), output=tmp_path / "runs", progress=False)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"training": {"epochz": 3}}, "training has no 'epochz'; did you mean 'epochs'?"),
        ({"training": {"select": "last"}, "short": {"early_stop": 3}}, "early_stop waits for a better model"),
        ({"data": {"binarise": "fixed"}}, "data has no 'binarise'; did you mean 'binarize'?"),
        ({"parts": {"likelihood": "gaussain"}}, "unknown likelihood 'gaussain'; did you mean 'gaussian'?"),
        ({"parts": {"latent": {"featurs": 3}}}, "latent 'gaussian' has no option 'featurs'; did you mean 'features'?"),
        ({"sweep": [{"loss.beta": 1}, {"loss.bta": 2}]}, "loss 'elbo' has no option 'bta'; did you mean 'beta'?"),
        ({"sweep": [{"los.beta": 1}]}, "config has no 'los'; did you mean 'loss'?"),
    ],
    ids=str,
)
def test_showing_a_recipe_of_ones_own_finds_what_is_wrong_with_it(given: dict, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"source": "digits", **given}))
    result = CliRunner().invoke(app, ["recipes", str(file)])
    assert said in str(result.exception)
    assert not result.stdout
    file.write_text('{"source": "digits", "parts": {"prior": "normal"}, "sweep": [{"loss.beta": 2}]}')
    assert json.loads(CliRunner().invoke(app, ["recipes", str(file)]).stdout)["parts"] == {"prior": "normal"}


@pytest.mark.parametrize("values", recipes.load("conv-cifar10").sweep, ids=str)
def test_photographs_are_scored_as_their_source_did(values: dict) -> None:
    """A squared error divided by the pixels' number, and beta times a KL divided by the latents', but for a constant."""
    recipe = recipes.load("conv-cifar10")
    parts = {kind: dict(part) if isinstance(part, dict) else part for kind, part in recipe.parts.items()}
    parts["latent"]["features"], beta = values["latent.features"], values["loss.beta"]
    model, loss = vaekit.build(vaekit.Config(data_shape=(3, 32, 32), **{**parts, "loss": {**parts["loss"], "beta": beta}}))
    x, c = torch.rand(4, 3, 32, 32), torch.zeros(4, 0)
    model.eval()
    torch.manual_seed(0)
    trace = model(x, c)
    mean = trace.px.mean.reshape(x.shape)
    source = ((x - mean) ** 2).sum((1, 2, 3)) / 3072 + beta * trace.kl() / values["latent.features"]
    torch.manual_seed(0)
    terms = loss(model, x, c)
    constant = 0.5 * math.log(math.pi)
    assert terms.loss.item() == pytest.approx(source.mean().item() + constant, rel=1e-5)
    assert terms.parts["reconstruction"].item() / 3072 - constant == pytest.approx(((x - mean) ** 2).mean().item(), rel=1e-3)


def test_faces_from_a_folder(tmp_path: Path) -> None:
    """CelebA itself cannot be shipped: pictures of its size stand in for it, to see that the config runs."""
    random = np.random.default_rng(0)
    for i in range(24):
        face = random.integers(0, 256, (7, 6, 3), dtype=np.uint8)
        Image.fromarray(face).resize((178, 218), Image.Resampling.BICUBIC).save(tmp_path / f"{i:06}.jpg")
    given = {"data_options": {"validation": 4, "test": 4}, "output": tmp_path, "progress": False}
    run = vaekit.fit(f"folder:{tmp_path}", recipe="conv-celeba", short=True, **given)
    assert run.model.sample(2, seed=0).shape == (2, 3, 64, 64)
    assert {path.name for path in run.figures} >= {"samples.png", "reconstructions.png"}

"""From configs to models: options, shapes, combinations of what is installed, and errors that say what to do."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit import registry
from vaekit.known import EXTRAS
from vaekit.wiring import describe

ROOT = Path(__file__).parents[1]
SHAPES = [(1, 8, 8), (3, 7, 5), (1, 1, 1), (6, 4), (5,)]


def _parts(kind: str) -> list[str]:
    return [part.name for part in registry.list(kind)]


def _combinations() -> list[dict[str, str]]:
    """Every part of every kind with the textbook's others, and every pair of encoder and decoder, likelihood and context."""
    rows = [
        {kind: name}
        for kind in ("encoder", "latent", "prior", "decoder", "likelihood", "context", "loss")
        for name in _parts(kind)
    ]
    rows += [{"encoder": e, "decoder": d} for e in _parts("encoder") for d in _parts("decoder")]
    rows += [
        {"context": "labels", "prior": p, "encoder": e, "decoder": d}
        for p in _parts("prior")
        for e, d in zip(_parts("encoder"), ["mlp", "transposed-conv", "mlp"], strict=False)
    ]
    rows += [{"likelihood": name, "decoder": d} for name in _parts("likelihood") for d in _parts("decoder")]
    return rows


@pytest.mark.parametrize("parts", _combinations(), ids=lambda row: "-".join(row.values()))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_combination_works_or_says_why_it_cannot(parts: dict[str, str], shape: tuple[int, ...], tmp_path) -> None:
    config = vaekit.Config(data_shape=shape, **parts)
    try:
        model, loss = vaekit.build(config)
    except vaekit.ShapeError as error:
        images_only = {"conv", "transposed-conv"} & set(parts.values()) and len(shape) != 3
        no_rows = "lstm" in parts.values() and len(shape) == 1
        no_labels = parts.get("prior") == "conditional" and "context" not in parts
        if not (images_only or no_rows or no_labels):
            raise AssertionError("refused without a reason that is known here") from error
        return
    x = torch.randint(256, (4, *shape)) / 255
    x = (x > 0.5).float() if model.likelihood.name == "bernoulli" else x
    y = torch.tensor([0, 1, 2, 3]) if "context" in parts and parts["context"] == "labels" else None
    terms = loss(model, x, model.context(y, 4))
    assert torch.isfinite(terms.loss)
    terms.loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    loaded = vaekit.load(model.save(tmp_path))
    assert torch.equal(
        loaded.sample(2, y=None if y is None else 1, seed=0), model.sample(2, y=None if y is None else 1, seed=0)
    )
    assert torch.equal(loaded.reconstruct(x, y), model.reconstruct(x, y))


@pytest.mark.parametrize("part", registry.list(), ids=lambda p: f"{p.kind}-{p.name}")
def test_spec_and_wiring_rebuild_a_part(part) -> None:
    parts = {part.kind: part.name, **({"context": "labels"} if part.kind == "prior" and part.name == "conditional" else {})}
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **parts))
    built = loss if part.kind == "loss" else getattr(model, part.kind)
    spec = built.spec()
    assert json.loads(json.dumps(spec)) == spec
    assert spec["name"] == part.name
    assert list(spec) == ["name", *(option.name for option in registry.options(part))]
    again = type(built)(**built.wiring, **{k: v for k, v in spec.items() if k != "name"})
    assert again.spec() == spec
    assert again.out_shape == built.out_shape
    assert [tuple(p.shape) for p in again.parameters()] == [tuple(p.shape) for p in built.parameters()]


def test_a_model_put_together_by_hand_describes_itself(tmp_path) -> None:
    built, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), latent={"features": 3}))
    parts = ("context", "encoder", "latent", "prior", "decoder", "likelihood")
    model = vaekit.VAE(**{kind: getattr(built, kind) for kind in parts})
    assert model.config is None
    assert describe(model, loss) == built.config
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(vaekit.load(model.save(tmp_path)).encode(x), model.encode(x))


@pytest.mark.parametrize(
    ("parts", "error", "said"),
    [
        (
            {"encoder": "lsmt"},
            vaekit.UnknownPart,
            r"unknown encoder 'lsmt'; did you mean 'lstm'\? \(installed: conv, lstm, mlp\)",
        ),
        (
            {"latent": {"featres": 2}},
            vaekit.ConfigError,
            r"has no option 'featres'; did you mean 'features'\? \(options: features, scale\)",
        ),
        ({"latent": {"features": 0}}, vaekit.ConfigError, "features: input should be greater than or equal to 1"),
        ({"latent": {"features": 10**10}}, vaekit.ConfigError, "less than or equal to 65536"),
        ({"latent": {"features": "16"}}, vaekit.ConfigError, "valid integer"),
        ({"latent": {"features": 16.0}}, vaekit.ConfigError, "valid integer"),
        ({"latent": {"features": True}}, vaekit.ConfigError, "valid integer"),
        ({"latent": {"scale": "log"}}, vaekit.ConfigError, "'exp' or 'softplus'"),
        ({"loss": {"beta": -1}}, vaekit.ConfigError, "beta"),
        ({"encoder": {"hidden": [1] * 17}}, vaekit.ConfigError, "hidden"),
        ({"encoder": {"hidden": {}}}, vaekit.ConfigError, "hidden"),
        ({"encoder": {"name": "conv", "channels": [4, 4], "strides": [2]}}, vaekit.ConfigError, "2 layers have 1 strides"),
        ({"prior": "conditional"}, vaekit.ShapeError, "prior 'conditional': .*add context=labels"),
    ],
)
def test_what_cannot_be_built_is_one_clear_error(parts: dict, error, said: str) -> None:
    with pytest.raises(error, match=said):
        vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **parts))


def test_the_table_of_extras_is_what_plugins_brings() -> None:
    from vaekit.plugins import plugins

    brought = {(part.kind, part.name): p.package for p in plugins().all for part in p.parts if p.package != "vaekit"}
    assert {key: f"vaekit-{extra}" for key, extra in EXTRAS.items()} == brought
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    packages = {tomllib.loads(p.read_text())["project"]["name"]: p.parent.name for p in ROOT.glob("plugins/*/pyproject.toml")}
    assert all(name == folder for name, folder in packages.items())
    assert {f"vaekit-{extra}" for extra in extras if extra != "all"} == set(packages)
    assert all(extras[name.removeprefix("vaekit-")] == [name] for name in packages)
    assert extras["all"] == [f"vaekit[{','.join(sorted(extra for extra in extras if extra != 'all'))}]"]


def test_listing_by_pattern() -> None:
    assert [part.name for part in registry.list("likelihood", "*bernoulli")] == ["bernoulli", "continuous-bernoulli"]
    with pytest.raises(vaekit.ConfigError, match="did you mean 'encoder'"):
        registry.list("encodr")

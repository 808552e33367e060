"""From configs to models: options, shapes, and errors that say what to do."""

import tomllib
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit import registry
from vaekit.known import EXTRAS
from vaekit.wiring import describe

ROOT = Path(__file__).parents[1]


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
            r"unknown encoder 'lsmt'; did you mean 'lstm'\? \(installed: conv, lstm, mlp, ",
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
    ours = [extra for extra in extras if extra not in ("all", "datasets", "tensorboard")]  # these two are others' packages
    together = {"onnx", "serve", "web"}  # packages of ours with what they need for more
    assert {f"vaekit-{extra}" for extra in ours if extra not in together} == {"vaekit-demo", *packages}
    assert all(extras[name.removeprefix("vaekit-")] == [name] for name in packages)
    assert extras["all"] == [f"vaekit[{','.join(sorted(ours))}]"]


def test_listing_by_pattern() -> None:
    assert [part.name for part in registry.list("likelihood", "*bernoulli")] == ["bernoulli", "continuous-bernoulli"]
    with pytest.raises(vaekit.ConfigError, match="did you mean 'encoder'"):
        registry.list("encodr")

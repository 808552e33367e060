"""What several test modules share."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch

import vaekit

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test draws the same, alone or among others."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def make() -> Callable[..., vaekit.VAE]:
    """A small model of the given parts, in evaluation mode."""

    def build(data_shape: tuple[int, ...] = (1, 6, 5), **parts: Any) -> vaekit.VAE:
        small = {"encoder": {"hidden": [8]}, "latent": {"features": 2}, "decoder": {"hidden": [8]}}
        model, _ = vaekit.build(vaekit.Config(data_shape=data_shape, **{**small, **parts}))
        return model.eval()

    return build


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """Run code in a fresh process, away from the checkout; its standard output."""

    def run(code: str, **environment: str) -> str:
        import os

        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def environments() -> type:
    """The class of new environments; test modules import no module beside them."""
    spec = spec_from_file_location("environment", Path(__file__).with_name("environment.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Environment

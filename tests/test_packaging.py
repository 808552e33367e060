"""Installing as a user does: wheels, a new environment with nothing editable in it, and pip."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from environment import Environment

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheels` makes."""
    folder = tmp_path_factory.mktemp("dist")
    packages = [str(path.parent) for path in [*sorted(ROOT.glob("plugins/*/pyproject.toml")), ROOT / "demo" / "pyproject.toml"]]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(ROOT), *packages], check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def alone(wheels: Path, tmp_path_factory: pytest.TempPathFactory, environments: "Callable[..., Environment]") -> "Environment":
    """vaekit without any extra."""
    environment = environments(tmp_path_factory.mktemp("alone") / "env", wheels)
    environment.install("vaekit")
    return environment


def test_every_package_is_one_wheel(wheels: Path) -> None:
    names = sorted(path.name.split("-")[0] for path in wheels.iterdir())
    plugins = [path.parent.name.replace("-", "_") for path in ROOT.glob("plugins/*/pyproject.toml")]
    assert names == ["vaekit", *sorted(["vaekit_demo", *plugins])]


def test_the_demo_is_a_command_and_its_files(wheels: Path, tmp_path: Path, environments: "Callable[..., Environment]") -> None:
    there = {path.name for path in (ROOT / "demo" / "vaekit_demo" / "static").iterdir()}
    [wheel] = wheels.glob("vaekit_demo-*.whl")
    with ZipFile(wheel) as archive:
        held = archive.namelist()
    assert there == {Path(name).name for name in held if name.startswith("vaekit_demo/static/") and not name.endswith("/")}
    environment = environments(tmp_path / "env", wheels)
    environment.install("vaekit[demo]")
    assert "  demo  " in environment.vaekit("--help")
    assert "vaekit-demo" in environment.vaekit("plugins")
    assert "--port" in environment.vaekit("demo", "--help")
    said = environment.vaekit("demo", "nowhere", code=1)
    assert "no folder nowhere" in said
    assert "Traceback" not in said


def test_an_extra_brings_its_plugin(wheels: Path, tmp_path: Path, environments: "Callable[..., Environment]") -> None:
    environment = environments(tmp_path / "env", wheels)
    environment.install("vaekit[lstm]")
    listed = environment.vaekit("plugins")
    assert "vaekit-lstm" in listed
    assert "vaekit-conv" not in listed
    assert "out of use" not in listed
    trained = environment.vaekit("train", "digits", "encoder=lstm", "encoder.hidden=8", "--epochs", "1")
    assert "digits-lstm" in trained
    where = environment.call(
        str(environment.python), "-c", "import vaekit, vaekit_lstm; print(vaekit.__file__, vaekit_lstm.__file__)"
    )
    assert str(ROOT) not in where
    assert "lstm-mnist" in environment.vaekit("recipes")


def test_without_the_extra_the_error_says_which_command_brings_it(alone: "Environment") -> None:
    said = alone.vaekit("train", "digits", "encoder=lstm", code=2)
    assert "encoder 'lstm' comes from vaekit-lstm, which is not installed: pip install 'vaekit[lstm]'" in said
    assert "Traceback" not in said
    said = alone.vaekit("demo", "latest", "--port", "7860", code=2)
    assert said == "error: the command 'demo' comes with vaekit-demo, which is not installed: pip install \"vaekit[demo]\"\n"


def test_new_plugins_are_made_of_what_the_wheel_holds(alone: "Environment", tmp_path: Path) -> None:
    assert "pip install -e" in alone.vaekit("new-plugin", "vaekit-bar", "--kind", "encoder", "--output", str(tmp_path))
    assert (tmp_path / "vaekit-bar" / ".github" / "workflows" / "test.yml").is_file()

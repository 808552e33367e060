"""Installing as a user does: wheels, a new environment with nothing editable in it, and pip."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class Environment:
    """A new environment that sees this one's third-party packages, but nothing of this project."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder, self.wheels = folder, wheels
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        others = folder / "others"
        others.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if "vaekit" not in entry.name and not entry.name.endswith(".pth"):
                (others / entry.name).symlink_to(entry)
        site = next((folder / "lib").glob("python3*/site-packages"))
        (site / "others.pth").write_text(f"{others}\n")

    def install(self, what: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-index"]
        self.call(*pip, "--find-links", str(self.wheels), what)

    def call(self, *command: str, code: int = 0, **environment: str) -> str:
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PIP_FIND_LINKS")}
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, env={**clean, **environment}, timeout=300, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def vaekit(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.call(str(self.folder / "bin" / "vaekit"), *arguments, code=code, **environment)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheels` makes."""
    folder = tmp_path_factory.mktemp("dist")
    packages = [str(path.parent) for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(ROOT), *packages], check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def alone(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """vaekit without any extra."""
    environment = Environment(tmp_path_factory.mktemp("alone") / "env", wheels)
    environment.install("vaekit")
    return environment


def test_every_package_is_one_wheel(wheels: Path) -> None:
    names = sorted(path.name.split("-")[0] for path in wheels.iterdir())
    assert names == ["vaekit", *sorted(p.parent.name.replace("-", "_") for p in ROOT.glob("plugins/*/pyproject.toml"))]


def test_an_extra_brings_its_plugin(wheels: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env", wheels)
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


def test_without_the_extra_the_error_says_which_command_brings_it(alone: Environment) -> None:
    said = alone.vaekit("train", "digits", "encoder=lstm", code=2)
    assert "encoder 'lstm' comes from vaekit-lstm, which is not installed: pip install 'vaekit[lstm]'" in said
    assert "Traceback" not in said


def _plugin(site: Path, name: str, code: str) -> None:
    """A package as pip would leave it: a module, and metadata with an entry point."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[vaekit]\n{module} = {module}\n")


GOOD = '''
from typing import Annotated
import torch, vaekit
from pydantic import Field

class Doubled(vaekit.Encoder):
    """Twice x, flattened. x (N, *in_shape) gives h (N, D)."""
    name = "doubled"
    def __init__(self, in_shape, context, *, times: Annotated[int, Field(ge=1, le=9)] = 2):
        super().__init__()
        self.times, self.out_shape = times, (torch.Size(in_shape).numel(),)
    def forward(self, x, c):
        return self.times * x.flatten(1)

@vaekit.hookimpl
def vaekit_parts():
    return [Doubled]
'''

BROKEN = {
    "import-error": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "hook-raises": (GOOD.replace("return [Doubled]", "raise RuntimeError('boom')"), "RuntimeError: boom"),
    "misspelt-hook": (
        GOOD.replace("def vaekit_parts", "def vaekit_part"),
        "implements a hook 'vaekit_part' that vaekit does not have",
    ),
    "no-hook": ("", "implements no hook"),
    "no-list": (GOOD.replace("return [Doubled]", "return Doubled"), "where a list is wanted"),
    "no-part": (GOOD.replace("return [Doubled]", "return [int]"), "which is no vaekit part"),
    "wrong-wiring": (
        GOOD.replace("in_shape, context, *", "shape, context, *"),
        "has __init__\\(self, in_shape, context, \\*, <options>\\)",
    ),
    "no-bounds": (GOOD.replace("Annotated[int, Field(ge=1, le=9)]", "int"), "option 'times' is an integer without bounds"),
    "no-json": (GOOD.replace("Annotated[int, Field(ge=1, le=9)] = 2", "torch.Tensor = None"), "not JSON values|of a type"),
    "no-annotation": (GOOD.replace(": Annotated[int, Field(ge=1, le=9)]", ""), "has no annotation"),
    "bad-default": (GOOD.replace("= 2)", "= 10)"), "a default breaks its own bounds"),
    "bad-name": (GOOD.replace('"doubled"', '"Doubled Up"'), "a name is lower-case letters"),
    "no-docstring": (GOOD.replace('"""Twice x, flattened. x (N, *in_shape) gives h (N, D)."""', "pass"), "it has no docstring"),
    "abstract": (GOOD.replace("def forward", "def backward"), "does not define forward"),
    "lost-annotation": (GOOD.replace("Annotated[int, Field(ge=1, le=9)]", "'Nowhere'"), "evaluable annotations"),
}


def test_a_broken_plugin_harms_nobody_else(alone: Environment, tmp_path: Path) -> None:
    """All of them at once, beside a good one: each is named with its reason, and the rest keeps working."""
    import re

    for name, (code, _) in BROKEN.items():
        _plugin(tmp_path, f"broken-{name}", code)
    _plugin(tmp_path, "good", GOOD)
    listed = alone.vaekit("plugins", PYTHONPATH=str(tmp_path))
    lines = {line.split()[0]: line for line in listed.splitlines() if line}
    for name, (_, reason) in BROKEN.items():
        assert re.search(f"1.2 .*out of use: .*({reason})", lines[f"broken-{name}"]), lines[f"broken-{name}"]
    assert "encoder doubled" in lines["good"]
    trained = alone.vaekit("train", "digits", "encoder=doubled", "encoder.times=3", "--epochs", "1", PYTHONPATH=str(tmp_path))
    assert "digits-doubled" in trained
    said = alone.vaekit("train", "digits", "encoder=tripled", code=2, PYTHONPATH=str(tmp_path))
    assert "unknown encoder 'tripled'" in said
    assert "(installed: doubled, mlp)" in said
    assert "plugin broken-hook-raises 1.2 is installed but out of use: RuntimeError: boom" in said


def test_a_clash_of_names_is_an_error_that_names_both(alone: Environment, tmp_path: Path) -> None:
    _plugin(tmp_path, "first", GOOD)
    _plugin(tmp_path, "second", GOOD)
    said = alone.vaekit("train", "digits", "encoder=doubled", code=1, PYTHONPATH=str(tmp_path))
    assert "encoder 'doubled' is brought by first and second" in said
    assert "clash: encoder 'doubled' is brought by first and second" in alone.vaekit("plugins", PYTHONPATH=str(tmp_path))
    trained = alone.vaekit(
        "train", "digits", "encoder=doubled", "--epochs", "1", PYTHONPATH=str(tmp_path), VAEKIT_PLUGINS="second"
    )
    assert "digits-doubled" in trained


@pytest.mark.parametrize(("allowed", "there"), [("", False), ("good", True), ("Other, GOOD", True), ("other", False)])
def test_the_environment_restricts_what_loads(alone: Environment, tmp_path: Path, allowed: str, there: bool) -> None:
    _plugin(tmp_path, "good", GOOD)
    listed = alone.vaekit("plugins", PYTHONPATH=str(tmp_path), VAEKIT_PLUGINS=allowed)
    assert ("good" in listed) == there
    assert "encoder mlp" in listed

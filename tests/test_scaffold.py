"""What `vaekit new-plugin` writes installs, passes its own tests and trains; what it refuses leaves no trace."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vaekit
from vaekit import cli, scaffold

if TYPE_CHECKING:
    from environment import Environment

PARTS = [kind for kind in scaffold.KINDS if kind != "dataset"]
ODD = "New.Odd_Name"
"""A package of a data set whose name is legal, and not how pip spells it."""


def _new(*arguments: str) -> None:
    cli.app(["new-plugin", *arguments], standalone_mode=False)


def _name(kind: str) -> str:
    return f"vaekit-new-{kind}"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of each kind."""
    folder = tmp_path_factory.mktemp("new") / "packages"
    for kind in scaffold.KINDS:
        _new(_name(kind), "--kind", kind, "--output", str(folder))
    _new(ODD, "--kind", "dataset", "--output", str(folder))
    return folder


@pytest.fixture(scope="module")
def installed(
    packages: Path, tmp_path_factory: pytest.TempPathFactory, environments: "Callable[..., Environment]"
) -> "Environment":
    """An environment with all of them, as an author installs them."""
    environment = environments(tmp_path_factory.mktemp("authors") / "env")
    options = [option for name in (*map(_name, scaffold.KINDS), ODD) for option in ("--editable", str(packages / name))]
    environment.install("--no-build-isolation", "--no-deps", *options)
    return environment


def test_their_own_tests_pass(packages: Path, installed: "Environment") -> None:
    """Untouched; all in one process, which imports torch once."""
    config = str(packages / _name("encoder") / "pyproject.toml")  # they are all alike
    folders = [str(packages / _name(kind) / "tests") for kind in scaffold.KINDS]
    said = installed.call(str(installed.python), "-m", "pytest", "-rA", "-c", config, *folders, folder=packages)
    assert "SKIPPED" not in said
    for kind in scaffold.KINDS:
        assert len(re.findall(rf"^PASSED .*/test_{kind}\.py::test_conformance", said, re.MULTILINE)) >= 7, kind


def test_its_own_tests_pass_as_its_workflow_runs_them(packages: Path, installed: "Environment") -> None:
    package = packages / _name("dataset")
    steps = re.findall(r"- run: (.*)", (package / ".github" / "workflows" / "test.yml").read_text())
    assert steps[1:] == ["python -m pip install --editable . --group dev", "python -m pytest", f"vaekit check {package.name}"]
    assert " passed in " in installed.call(str(installed.python), "-m", "pytest", folder=package)
    assert "none failed" in installed.vaekit("check", package.name)


def test_it_is_checked_by_the_name_that_its_files_say(packages: Path, installed: "Environment") -> None:
    for file in ("README.md", ".github/workflows/test.yml"):
        assert f"vaekit check {ODD}\n" in (packages / ODD / file).read_text()
    rows = installed.vaekit("check", ODD).splitlines()
    assert rows[1].split() == ["plugin", "new-odd-name", "loads", "ok"]
    assert "none failed" in rows[-1]


def test_style_and_types(packages: Path, tmp_path: Path) -> None:
    def run(*command: str) -> None:
        done = subprocess.run([sys.executable, "-m", *command], cwd=packages, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run("ruff", "check", "--no-cache", ".")
    run("ruff", "format", "--no-cache", "--check", ".")
    modules = [str(path.parent) for path in sorted(packages.glob("*/*/__init__.py"))]
    assert len(modules) == len(scaffold.KINDS) + 1
    run("mypy", "--strict", "--cache-dir", str(tmp_path), *modules)


def test_they_are_there_by_name(installed: "Environment") -> None:
    listed = installed.vaekit("plugins")
    for kind in scaffold.KINDS:
        line = next(line for line in listed.splitlines() if line.startswith(f"{_name(kind)} "))
        assert line.split()[1] == "0.1.0"
        assert line.endswith(f"{'data' if kind == 'dataset' else kind} new-{kind}")
    shown = installed.vaekit("parts", "show", "encoder", "new-encoder")
    assert "encoder.features = 256  (integer, 1 to 65536)\n    width of the layer." in shown
    assert "https://arxiv.org/abs/1312.6114" in shown


def test_they_train_together(installed: "Environment") -> None:
    parts = [f"{kind}=new-{kind}" for kind in PARTS]
    said = installed.vaekit("train", "new-dataset", *parts, "--epochs", "1", "--name", "all")
    assert "nats per example" in said
    run = installed.folder / "runs" / "all"
    assert '"classes": 4' in (run / "model" / "config.json").read_text()


def test_the_wheel_holds_what_it_should(packages: Path, tmp_path: Path) -> None:
    source = shutil.copytree(packages / _name("encoder"), tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    module, info = "vaekit_new_encoder", "vaekit_new_encoder-0.1.0.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == {
            *(f"{module}/{name}" for name in ("__init__.py", "encoder.py", "py.typed")),
            *(f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")),
        }
        about = archive.read(f"{info}/METADATA").decode()
        assert archive.read(f"{info}/entry_points.txt").decode().split() == ["[vaekit]", "new-encoder", "=", module]
    assert "Requires-Dist: vaekit<0.2,>=0.1\n" in about
    assert "License-Expression: MIT\n" in about


def test_what_vaekit_asks_of_python_and_of_itself(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((packages / _name("loss") / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == metadata("vaekit")["Requires-Python"]
    for installed, asked in (("0.1.0", ">=0.1,<0.2"), ("0.12.3.dev1", ">=0.12,<0.13"), ("2.3.1", ">=2.3,<3")):
        monkeypatch.setattr(scaffold, "version", lambda _, installed=installed: installed)
        assert scaffold._requirement() == f"vaekit{asked}"


def test_the_command_says_where_it_is_and_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _new("Bar.Two", "--kind", "decoder", "--author", "Ada \\1 'L'", "--output", "a b")
    said = capsys.readouterr()
    assert said.out == "a b/Bar.Two\n"
    assert said.err.splitlines()[1:] == [
        "  cd 'a b/Bar.Two'",
        "  pip install -e . --group dev",
        "  pytest",
        "  vaekit check Bar.Two",
        "  vaekit train digits decoder=bar-two",
    ]
    _new("shades", "--kind", "dataset")
    assert capsys.readouterr().err.splitlines()[-1] == "  vaekit train shades"
    made = Path("a b/Bar.Two")
    assert "Ada \\1 'L'\n" in (made / "LICENSE").read_text()
    assert "the shades authors\n" in Path("shades/LICENSE").read_text()
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == {
        ".github/workflows/test.yml",
        ".gitignore",
        "LICENSE",
        "README.md",
        "bar_two/__init__.py",
        "bar_two/decoder.py",
        "bar_two/py.typed",
        "pyproject.toml",
        "tests/test_decoder.py",
    }
    assert 'name = "bar-two"' in (made / "bar_two" / "decoder.py").read_text()
    assert "from bar_two.decoder import BarTwoDecoder\n" in (made / "bar_two" / "__init__.py").read_text()
    assert 'SHADES = DataSet(\n    "shades",' in Path("shades/shades/dataset.py").read_text()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "vaekit-bar").mkdir()
    assert (scaffold.new_plugin("vaekit-bar", "prior", tmp_path) / "vaekit_bar" / "prior.py").is_file()


@pytest.mark.parametrize("name", ["vaekit-example", "vaekit-encoder", "vaekit-my-example2", "Example"])
@pytest.mark.parametrize("kind", ["encoder", "loss", "dataset"])
def test_names_made_of_the_words_that_are_replaced(name: str, kind: str, tmp_path: Path) -> None:
    made = scaffold.new_plugin(name, kind, tmp_path)
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["vaekit"].values()
    assert list(project["entry-points"]["vaekit"]) == [scaffold.part_name(name)]
    assert project["name"] == name
    code = (made / module / f"{kind}.py").read_text()
    assert f'"{scaffold.part_name(name)}"' in code
    thing = (made / "tests" / f"test_{kind}.py").read_text().partition("with_checks([")[2].partition("]")[0]
    assert f"class {thing}(" in code or f"\n{thing} = " in code


WRONG = {
    ("bar!", "encoder"): "'bar!' is no name for a package: give letters and digits with - _ . between, such as vaekit-bar",
    ("-bar", "encoder"): "'-bar' is no name for a package",
    ("bar\n", "encoder"): "is no name for a package",
    ("größe", "encoder"): "is no name for a package",
    ("../bar", "encoder"): "is no name for a package",
    ("", "encoder"): "'' is no name for a package",
    ("x" * 65, "encoder"): "is no name for a part or a data set: give at most 64 letters and digits, with hyphens",
    ("8-schools", "dataset"): "would bring '8_schools', which is no name in Python: choose another name",
    ("vaekit-8-schools", "dataset"): "would bring '8_SCHOOLS', which is no name in Python: choose another name",
    ("vaekit-8", "loss"): "would bring '8Loss', which is no name in Python: choose another name",
    ("lambda", "encoder"): "package 'lambda' would bring 'lambda', which is no name in Python",
    ("Statistics", "encoder"): "a module 'statistics', which is in Python's standard library: choose another name",
    ("tests", "encoder"): "a module 'tests', and has a folder of that name for other things: choose another name",
    ("vaekit", "encoder"): "a module 'vaekit', which is that of another package: choose another name",
    ("torch", "encoder"): "a module 'torch', which is that of another package: choose another name",
    ("scikit-learn", "encoder"): "a module 'scikit_learn', which is that of another package: choose another name",
    ("vaekit-lstm", "latent"): "a module 'vaekit_lstm', which is that of another package: choose another name",
    ("vaekit-bar", "encodr"): "no kind of part is called 'encodr'; did you mean 'encoder'? (kinds: context, encoder, latent, "
    "prior, likelihood, decoder, loss, dataset)",
    ("vaekit-lstm", "encoder"): "encoder 'lstm' is brought by vaekit-lstm already: choose another name",
    ("Vaekit_Transposed.Conv", "decoder"): "decoder 'transposed-conv' is brought by vaekit-conv already: choose another name",
    ("mlp", "decoder"): "decoder 'mlp' is brought by vaekit already: choose another name",
    ("digits", "dataset"): "dataset 'digits' is brought by vaekit already: choose another name",
}


@pytest.mark.parametrize(("name", "kind"), WRONG)
def test_what_is_wrong_is_said_and_leaves_nothing(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError) as wrong:
        scaffold.new_plugin(name, kind, tmp_path / "output")
    assert WRONG[name, kind] in str(wrong.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("author", ["", " ", "A\nB"])
def test_an_author_is_one_line(author: str, tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match=r"the author is .*: give a name, in one line"):
        scaffold.new_plugin("vaekit-bar", "encoder", tmp_path, author)
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(vaekit.ConfigError, match=r"file/vaekit-bar cannot be written: Not a directory"):
        scaffold.new_plugin("vaekit-bar", "encoder", tmp_path / "file")
    (tmp_path / "vaekit-bar").mkdir()
    (tmp_path / "vaekit-bar" / "mine").write_text("")
    (tmp_path / "vaekit-baz").write_text("")
    for name in ("vaekit-bar", "vaekit-baz"):
        with pytest.raises(vaekit.ConfigError, match=f"{name} is there already, and is no empty folder: choose another name"):
            scaffold.new_plugin(name, "encoder", tmp_path)

    write = Path.write_text

    def full(self: Path, text: str, **options: str) -> int:
        if self.name == "py.typed":
            raise OSError(28, "No space left on device")
        return write(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(vaekit.ConfigError, match=r"vaekit-new cannot be written: No space left on device"):
        scaffold.new_plugin("vaekit-new", "encoder", tmp_path / "deep" / "down")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "vaekit-bar", "vaekit-baz"]


def test_an_error_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vaekit", "new-plugin", "vaekit-lstm", "--kind", "encoder"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: encoder 'lstm' is brought by vaekit-lstm already: choose another name\n"
    assert not list(tmp_path.iterdir())

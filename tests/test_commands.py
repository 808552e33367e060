"""Commands that other packages bring: real entry points, some of them broken, clashing or of no use."""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import vaekit
from vaekit import packages
from vaekit.cli import app
from vaekit.cli.commands import found
from vaekit.known import COMMANDS

HELLO = '''
from typing import Annotated
import typer

def hello(name: str, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
    """Say hello. And more."""
    print(f"hello {name}" + "!" * loud)
'''
ASK = "pip install --upgrade PACKAGE, or pip uninstall PACKAGE"
BROKEN = {
    "gone": ("", "gone.nowhere:hello", "ModuleNotFoundError: No module named 'gone.nowhere'; 'gone' is not a package"),
    "raises": ("raise RuntimeError('boom')", "raises:hello", "RuntimeError: boom (raises.py, line 1): " + ASK),
    "exits": ("raise SystemExit(3)", "exits:hello", "SystemExit: 3 (exits.py, line 1): " + ASK),
    "lacks": ("", "lacks:hello", "AttributeError: module 'lacks' has no attribute 'hello': " + ASK),
    "number": ("hello = 7", "number:hello", "number:hello is 7: name a function"),
    "an-app": ("import typer\nhello = typer.Typer()", "an_app:hello", "name a function"),
    "module": (HELLO, "module", "its entry point names 'module': write module:function"),
    "odd": ("def hello(x: 'Nowhere') -> None: pass", "odd:hello", "NameError: name 'Nowhere' is not defined"),
    "later": (HELLO, "later:hello", f"it was built for vaekit>=7 and this is vaekit {vaekit.__version__}"),
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a package with one module and a command on the path, as pip leaves it there."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(package: str, code: str = HELLO, entry: str = "", command: str = "", requires: str = "") -> None:
        module = package.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        folder = tmp_path / f"{module}-1.2.dist-info"
        folder.mkdir()
        wanted = f"Requires-Dist: {requires}\n" if requires else ""
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n{wanted}", encoding="utf-8")
        points = f"[vaekit.commands]\n{command or package} = {entry or f'{module}:hello'}\n"
        (folder / "entry_points.txt").write_text(points, encoding="utf-8")

    return install


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _main(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """Exit code and standard error of a command as a person runs it."""
    from vaekit.cli import main

    monkeypatch.setattr(sys, "argv", ["vaekit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr().err


def test_a_command_runs_and_is_listed(install: Callable[..., None]) -> None:
    install("greet", "print('imported')\n" + HELLO)
    assert _run("greet", "you", "--loud").stdout == "hello you!\n"
    listed = _run("--help")
    assert "  greet        Say hello.\n" in listed.stdout
    assert "imported" not in listed.stdout
    assert "Out of use" not in listed.stdout
    assert _run("greet", "-h").stdout.startswith("Usage: vaekit greet [OPTIONS] ")
    assert _run("greet").exit_code == 2
    assert "Did you mean 'greet'" in _run("geet").stderr
    [row] = [row for row in json.loads(_run("plugins", "--json").stdout) if row["package"] == "greet"]
    assert (row["version"], row["commands"], row["parts"], row["error"]) == ("1.2", ["greet"], [], "")
    assert "command greet" in _run("plugins").stdout
    assert "brings commands only" in str(_run("check", "greet").exception)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_command_says_why_and_harms_no_other(
    name: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, entry, said = BROKEN[name]
    install(name, code, entry, requires="vaekit>=7" if name == "later" else "")
    install("greet")
    said = said.replace("PACKAGE", name)
    for arguments in ([name], [name, "--help"], [name, "a", "--b", "c"]):
        exit_code, told = _main(arguments, monkeypatch, capsys)
        assert exit_code == 1
        assert told.startswith(f"error: the command {name!r} of {name} 1.2 is out of use: ")
        assert said in told
        assert told.count("\n") == 1
    listed = _run("--help").stdout
    assert "  greet        Say hello.\n" in listed
    below = listed.partition("Out of use:\n")[2]
    assert below.startswith(f"  {name}  of {name}: ")
    assert said[:30] in " ".join(below.split())
    assert _run("greet", "you").exit_code == 0
    assert f"command {name} out of use: " in _run("plugins").stdout


def test_two_packages_with_one_command_clash(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("first", "second"):
        install(package, command="greet")
    exit_code, told = _main(["greet", "you"], monkeypatch, capsys)
    assert exit_code == 1
    assert "'greet' is brought by first and second: pip uninstall one of them, or set VAEKIT_PLUGINS to" in told
    assert [command.error != "" for command in found(["train"]) if command.name == "greet"] == [True, True]
    monkeypatch.setenv("VAEKIT_PLUGINS", "second")
    assert _run("greet", "you").stdout == "hello you\n"


def test_nobody_takes_a_command_of_vaekits_own(install: Callable[..., None]) -> None:
    install("greedy", command="recipes")
    assert "lstm-mnist" in _run("recipes").stdout
    assert "'recipes' is vaekit's own: give yours another name, or pip uninstall greedy" in " ".join(_run("-h").stdout.split())


@pytest.mark.parametrize("name", ["Greet", "gr eet", "gr\x1beet", "a_b"])
def test_names_that_are_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "entry_points", lambda group: [EntryPoint(name, "nowhere:hello", group)])
    [command] = found([])
    assert "take lower-case letters and digits with hyphens" in command.error
    assert command.name.isprintable()
    assert command.error.isprintable()


def test_the_environment_restricts_commands(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("greet")
    monkeypatch.setenv("VAEKIT_PLUGINS", "vaekit-lstm")
    assert "greet" not in _run("--help").stdout
    exit_code, told = _main(["greet"], monkeypatch, capsys)
    assert exit_code == 2
    assert "No such command 'greet'" in told
    assert "greet" in _run("plugins").stdout.partition("VAEKIT_PLUGINS leaves out ")[2]
    monkeypatch.setenv("VAEKIT_PLUGINS", "Greet")
    assert _run("greet", "you").stdout == "hello you\n"
    assert "no installed plugin" not in _run("plugins").stdout


def test_the_packages_of_our_own_commands_are_known() -> None:
    brought = {command.name: command.package for command in found([]) if command.package.startswith("vaekit-")}
    assert brought == {name: package for name, (package, _) in COMMANDS.items()}


def test_a_command_that_is_not_installed_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "dance", ("vaekit-dancing", "dancing"))
    said = "error: the command 'dance' comes with vaekit-dancing, which is not installed: pip install \"vaekit[dancing]\"\n"
    for arguments in (["dance"], ["dance", "latest", "--port", "80"], ["dance", "--help"]):
        assert _main(arguments, monkeypatch, capsys) == (2, said)
    assert "dance" not in _run("--help").stdout
    assert "Did you mean 'dance'" in _run("dnace").stderr
    monkeypatch.setitem(COMMANDS, "dance", ("vaekit-demo", "demo"))
    assert "a later vaekit-demo than" in _main(["dance"], monkeypatch, capsys)[1]
    monkeypatch.setenv("VAEKIT_PLUGINS", "")
    said = "which VAEKIT_PLUGINS leaves out: add it there, or unset VAEKIT_PLUGINS\n"
    assert _main(["demo"], monkeypatch, capsys) == (2, f"error: the command 'demo' comes with vaekit-demo, {said}")


def test_nothing_is_looked_for_where_the_command_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(group: str) -> None:
        raise AssertionError(group)

    monkeypatch.setattr(packages, "entries", never)
    assert _run("recipes").exit_code == 0
    assert _run("train", "--help").exit_code == 0
    group: Any = get_command(app)
    assert "brought" not in vars(group)


def test_listing_commands_imports_no_torch(python: Callable[..., str]) -> None:
    code = """
import sys
from typer.testing import CliRunner
from vaekit.cli import app
assert "demo" in CliRunner().invoke(app, ["--help"]).stdout
print("vaekit_demo.command" in sys.modules, {"torch", "gradio", "numpy"} & set(sys.modules))
"""
    assert python(code) == "True set()"


def test_many_entry_points_are_read_in_a_moment(install: Callable[..., None]) -> None:
    for number in range(30):
        install(f"greet-{number}")
    start = time.perf_counter()
    assert sum(command.package.startswith("greet-") for command in found([])) == 30
    assert time.perf_counter() - start < 1

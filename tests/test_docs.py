"""The documentation says what is so: its tables match the code, its Python runs, its commands work."""

import ast
import importlib
import inspect
import json
import re
import shlex
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command

import vaekit
from vaekit import hookspecs, known, recipes, registry
from vaekit.cli import app, overrides
from vaekit.config import DEFAULTS, Config, DataInfo
from vaekit.data.transform import DataOptions
from vaekit.parts import INTERFACES, Part
from vaekit.plugins import plugins
from vaekit.training import TrainingOptions

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
OURS = {"vaekit", "vaekit-demo", *(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))}
GROUP: Any = get_command(app)
COMMANDS: dict[str, Any] = {**GROUP.commands, **{name: GROUP.get_command(None, name) for name in known.COMMANDS}}
ELSEWHERE = ("mnist", "folder:", "npz:", ".png")
"""What a console line names that is not at hand: such lines are checked, not run."""
IN_ORDER = [page for page in PAGES if page != "tutorial"]
"""Pages whose blocks of one language run by themselves; test_tutorial.py runs those of the tutorial, with the files between."""
QUICK = ("--epochs", "1", "data.validation=1500", "data.test=100")
"""Added to training on the digits: one epoch of 197 examples."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are faster so, and much faster where other tests run beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """The address of a demo of a small model."""
    fitted = {"latent": {"features": 2}, "data_options": {"binarize": "dynamic"}, "epochs": 1}
    run = vaekit.fit("digits", output=tmp_path / "shown", progress=False, **fitted)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "vaekit", "demo", str(run.path), "--port", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
        served.terminate()


def _package(part: type[Part]) -> str:
    origin = plugins().origin(part)
    return origin.package if origin else ""


PARTS = [part for part in registry.list() if _package(part) in OURS]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _rows(text: str, *header: str) -> list[list[str]]:
    """The rows of every table in `text` whose header begins so."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif tuple(_cells(line)[: len(header)]) == header:
            inside = True
        elif inside and not line.startswith("| ---"):
            rows.append(_cells(line))
    return rows


def _section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    lines = _prose(PAGES[page]).splitlines()
    if heading not in lines:
        return ""
    rest = lines[lines.index(heading) + 1 :]
    ends = [i for i, line in enumerate(rest) if re.match(rf"#{{1,{len(level)}}} ", line)]
    return "\n".join(rest[: ends[0]] if ends else rest)


def _prose(text: str) -> str:
    """A page without the contents of its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _blocks(page: str, language: str) -> list[tuple[int, str]]:
    """The code blocks of a language, each with the number of its first line."""
    found = re.finditer(rf"^```{language}\b[^\n]*\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [(PAGES[page][: block.start(1)].count("\n"), block[1]) for block in found]


def _shown(value: Any) -> str:
    """A default as the tables show it."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}-{part.name}")
def test_part(part: type[Part]) -> None:
    """Every part has its row, and every option its own, as the docstring has it."""
    rows = [row for row in _rows(PAGES["parts"], "kind", "name", "package", "what") if row[:2] == [part.kind, part.name]]
    row = f"| {part.kind} | {part.name} | {_package(part)} | … |"
    assert [row[2] for row in rows] == [_package(part)], f"docs/parts.md needs one row: {row}"
    assert rows[0][3]
    wanted = [
        [o.name, _shown(o.default), o.type.replace(" | ", ", "), o.bounds, o.summary.replace("|", r"\|")]
        for o in registry.options(part)
    ]
    written = _rows(_section("parts", f"### {part.kind} {part.name}"), "option", "default", "type", "bounds", "what")
    needed = "\n".join(f"| {' | '.join(cells)} |" for cells in wanted)
    assert written == wanted, f"docs/parts.md, ### {part.kind} {part.name}, needs:\n{needed}"


def test_no_other_part() -> None:
    there = [(part.kind, part.name) for part in PARTS]
    assert [(row[0], row[1]) for row in _rows(PAGES["parts"], "kind", "name")] == there
    headings = re.findall(r"^### (\S+) (\S+)$", PAGES["parts"], flags=re.MULTILINE)
    assert headings == [(part.kind, part.name) for part in PARTS if registry.options(part)]


@pytest.mark.parametrize("options", [DataOptions, TrainingOptions])
def test_options(options: type[DataOptions | TrainingOptions]) -> None:
    written = {row[0]: row[1] for row in _rows(PAGES["training"], "option", "default")}
    for name, field in options.model_fields.items():
        if name != "seed":  # both have one, and the same default
            assert written.get(f"`{name}`") == _shown(field.default), f"docs/training.md: {name} = {field.default}"
    both = {*DataOptions.model_fields, *TrainingOptions.model_fields}
    assert {name.strip("`") for name in written} == both


def test_data_sets() -> None:
    sets = [registry.dataset(name) for name in plugins().names("dataset")]
    ours = [found for found in sets if (origin := plugins().origin(found)) and origin.package in OURS]
    wanted = {f"`{found.name}{':PATH' if found.takes_path else ''}`": found.summary for found in ours}
    assert dict(_rows(PAGES["training"], "name", "what")) == wanted


def test_recipes() -> None:
    rows = {row[0]: row[1] for row in _rows(PAGES["recipes"], "name", "what", "epochs")}
    assert rows == {name: recipes.load(name).summary for name in recipes.names()}


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str) -> None:
    """Every command has its section, with every option and no other."""
    section = _section("cli", f"## {command}")
    assert f"`vaekit {command}" in section, f"docs/cli.md has no section on {command}"
    options = [p for p in COMMANDS[command].params if p.opts[0].startswith("-")]
    written = {row[0]: row[1] for row in _rows(section, "option", "default")}
    wanted = {", ".join(f"`{o}`" for o in p.opts): p.default for p in options}
    assert list(written) == list(wanted), f"docs/cli.md, ## {command}"
    for option, default in wanted.items():
        if default not in (None, False):
            assert written[option] == str(default), f"docs/cli.md, ## {command}: {option}"


def test_no_other_command() -> None:
    assert set(re.findall(r"`vaekit (\w[\w-]*)", PAGES["cli"])) <= {*COMMANDS, "COMMAND"}
    for option in [option for p in get_command(app).params for option in p.opts]:
        assert f"`vaekit {option}`" in PAGES["cli"]


@pytest.mark.parametrize("name", vaekit.__all__)
def test_public_name(name: str) -> None:
    assert re.search(rf"(^::: |`)vaekit\.{name}\b", "\n".join(PAGES.values()), flags=re.MULTILINE), (
        f"vaekit.{name} is in no page"
    )


@pytest.mark.parametrize("path", re.findall(r"^::: (\S+)$", PAGES["reference"], flags=re.MULTILINE))
def test_reference(path: str) -> None:
    """What a page of the reference is made from exists."""
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name) or importlib.import_module(path)


@pytest.mark.parametrize("page", PAGES)
def test_in_the_navigation(page: str) -> None:
    assert f": {page}.md\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [Config, DataInfo])
def test_format(model: type[Config | DataInfo]) -> None:
    written = {name for row in _rows(PAGES["format"], "field", "what") for name in re.findall(r"`(\w+)`", row[0])}
    assert set(model.model_fields) <= written
    assert written == {*Config.model_fields, *DataInfo.model_fields}


@pytest.mark.parametrize("kind", INTERFACES)
def test_wiring(kind: str) -> None:
    interface = INTERFACES[kind]
    rows = {row[0]: row for row in _rows(PAGES["plugins"], "kind", "the constructor begins with")}
    assert rows[kind][1] == f"`({', '.join(('self', *interface.wires, '*', '…'))})`"
    for method in interface.__abstractmethods__:
        assert method in rows[kind][3]
    assert set(INTERFACES) == set(rows) == set(DEFAULTS)


@pytest.mark.parametrize("hook", [name for name in dir(hookspecs) if name.startswith("vaekit_")])
def test_hook(hook: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"\n### `{hook}{signature}`\n" in PAGES["plugins"]


@pytest.mark.parametrize("page", [page for page in IN_ORDER if _blocks(page, "python")])
def test_python(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The blocks of a page run in order, and what a comment after an expression says is its value, or the shape of it."""
    monkeypatch.chdir(tmp_path)
    if page == "hub":
        _log_in(monkeypatch, request)
    served = request.getfixturevalue("demo") if page == "demo" else ""
    namespace: dict[str, Any] = {"__name__": "page"}
    for start, block in _blocks(page, "python"):
        block = block.replace("http://127.0.0.1:7860", served)
        lines = block.splitlines()
        for statement in ast.parse(block).body:
            ast.increment_lineno(statement, start)
            where = f"docs/{page}.md"
            if isinstance(statement, ast.Expr):
                value = eval(compile(ast.Expression(statement.value), where, "eval"), namespace)
                said = lines[statement.end_lineno - start - 1][statement.end_col_offset :].partition("#")[2].strip()
                shown = str(tuple(value)) if isinstance(value, torch.Size) else str(value)
                assert said in ("", shown, f"tensor({said})"), f"{where}, line {statement.lineno}: {shown}"
            else:
                exec(compile(ast.Module([statement], []), where, "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in IN_ORDER if _blocks(page, "console")])
def test_console(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """The commands of a page run in order, or are right as far as can be told without the data that they name, or a browser."""
    monkeypatch.chdir(tmp_path)
    if page == "hub":
        _log_in(monkeypatch, request)
    lines = [line for _, block in _blocks(page, "console") for line in block.splitlines()]
    for line in lines:
        prompt, vaekit_, command, *arguments = shlex.split(line)
        assert (prompt, vaekit_) == ("$", "vaekit"), line
        if command in ("demo", "serve") or (any(word in line for word in ELSEWHERE) and command != "recipes"):
            _check(command, arguments)
        else:
            app([command, *arguments, *(QUICK if command == "train" else ())], standalone_mode=False)
            assert capsys.readouterr().out, line


def _log_in(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Be alice, at the Hub of the tests."""
    monkeypatch.setenv("HF_TOKEN", request.getfixturevalue("hub").alice)
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # what the client asks of itself


def _check(command: str, arguments: list[str]) -> None:
    context = COMMANDS[command].make_context(command, list(arguments))
    if command == "train":
        asked = overrides.parse(context.params["arguments"])
        DataOptions(**asked.data)
        vaekit.build(Config(data_shape=(1, 28, 28), **asked.parts))

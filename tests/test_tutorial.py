"""The tutorial is executed: its files are written, its commands run, its output compared, and what it ends with is the package
in docs/examples."""

import ast
import os
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from environment import Environment

ROOT = Path(__file__).parents[1]
PAGE = "docs/tutorial.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "vaekit-rings"
MODULE, VERSION = "vaekit_rings", "0.1.0"

VAEKIT = """exec {python} -P -c "import sys; sys.argv[0] = '$0'; from vaekit.cli import main; main()" "$@"\n"""
PROGRAMS = {"pip": '{here} -m pip --python {python} "$@"\n', "pytest": '{python} -P -m pytest "$@"\n', "vaekit": VAEKIT}
"""What an environment without pip lacks, as scripts."""
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads that as --no-build-isolation
    "PIP_FIND_LINKS": "dist",  # in place of PyPI, once the page has built what it uploads
    "PIP_QUIET": "1",
    "OMP_NUM_THREADS": "1",
}
BUILD = ("python -m build", "python -m hatchling build")  # which is what that runs, in an environment that it downloads


@dataclass(frozen=True)
class Block:
    """A code block of the page: its language, its title, its text with snippets put in, and the number of its first line."""

    language: str
    title: str
    text: str
    line: int


def _blocks(page: str) -> Iterator[Block]:
    for found in re.finditer(r'^( *)(`{3,})(\w*)(?: title="([^"\n]+)")?\n(.*?)^\1\2$', page, flags=re.MULTILINE | re.DOTALL):
        _, _, language, title, text = found.groups()
        yield Block(language, title or "", _with_snippets(dedent(text)), page[: found.start(5)].count("\n") + 1)


def _with_snippets(text: str) -> str:
    snippet = re.compile(r"^--8<--\n(.+)\n--8<--\n", flags=re.MULTILINE)
    return snippet.sub(lambda name: (ROOT / "docs" / name[1]).read_text(encoding="utf-8"), text)


BLOCKS = list(_blocks(TEXT))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, environments: "Callable[..., Environment]") -> "Environment":
    made = environments(tmp_path_factory.mktemp("tutorial") / "env")
    for name, script in PROGRAMS.items():
        program = made.folder / "bin" / name
        program.write_text("#!/bin/sh\n" + script.format(here=sys.executable, python=made.python))
        program.chmod(0o755)
    return made


@pytest.fixture(scope="module")
def package(environment: "Environment", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a reader has who did all that the page says."""
    folder = tmp_path_factory.mktemp("work") / EXAMPLE.name
    folder.mkdir()
    for block in BLOCKS:
        if block.title:
            _write(block, folder / block.title)
        elif block.language == "console":
            _run(block, environment, folder)
        elif block.language == "python":
            _evaluate(block, environment, folder)
    return folder


def _write(block: Block, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _patched(path.read_text(encoding="utf-8"), block.text) if block.language == "diff" else block.text
    path.write_text(text, encoding="utf-8")


def _patched(text: str, diff: str) -> str:
    """The text with each part of a diff applied at the one place that it fits."""
    for part in diff.split("@@\n"):
        lines = part.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"{text.count(old)} places for:\n{old}"
        text = text.replace(old, new)
    return text


def _run(block: Block, environment: "Environment", folder: Path) -> None:
    """Run the commands of a block as the shell would, and compare what they print with what the page shows, if it does."""
    number = block.line
    for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        code = 1 if " FAILED" in shown else 2 if shown.startswith("error: ") else 0
        path = f"{environment.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        line = command.replace(*BUILD)
        said = environment.call("sh", "-c", f"{line} 2>&1", code=code, folder=folder, PATH=path, **OFFLINE)
        where = f"{PAGE}, line {number}: $ {command}"
        assert not shown or re.fullmatch(_pattern(_evened(shown)), _evened(said)), f"{where}\n{indent(said, '    ')}"
        number += entry.count("\n")


def _evened(text: str) -> str:
    """The text without the spaces that align its columns."""
    return "".join(f"{re.sub(' +', ' ', line.rstrip())}\n" for line in text.splitlines())


def _pattern(shown: str) -> str:
    """What is shown as a regular expression: a line `…` is any lines, within a line it is any text."""
    lines = (r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in shown.splitlines())
    return "".join(lines)


def _evaluate(block: Block, environment: "Environment", folder: Path) -> None:
    """Run a block, and compare the values of its expressions with the comments after them."""
    lines = block.text.splitlines()
    wanted = {}
    for statement in ast.parse(block.text).body:
        if isinstance(statement, ast.Expr):
            assert statement.end_lineno is not None
            wanted[statement.end_lineno] = lines[statement.end_lineno - 1].partition("  # ")[2]
    said = environment.call(str(environment.python), "-c", _SHOW, block.text, folder=folder, **OFFLINE)
    got = dict(line.split(" ", 1) for line in said.splitlines())
    for number, value in wanted.items():
        assert value in ("", got[str(number)]), f"{PAGE}, line {block.line + number - 1}: {got[str(number)]}"


_SHOW = """
import ast, sys
names = {}
for statement in ast.parse(sys.argv[1]).body:
    if isinstance(statement, ast.Expr):
        value = eval(compile(ast.Expression(statement.value), "page", "eval"), names)
        print(statement.end_lineno, tuple(value) if type(value).__name__ == "Size" else value)
    else:
        exec(compile(ast.Module([statement], []), "page", "exec"), names)
"""


def test_it_starts_from_eight_lines_and_tests_in_six() -> None:
    lines = {block.title: len([line for line in block.text.splitlines() if line.strip()]) for block in BLOCKS}
    assert BLOCKS[0].title == f"{MODULE}.py"
    assert (lines[f"{MODULE}.py"], lines["tests/test_rings.py"]) == (8, 6)


def test_every_stage_works_and_the_last_is_the_package_in_docs(package: Path) -> None:
    ignored = {line.strip("/") for line in (EXAMPLE / ".gitignore").read_text().splitlines()}

    def files(folder: Path) -> dict[str, str]:
        found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        return {str(name): path.read_text("utf-8") for name, path in found.items() if not ignored.intersection(name.parts)}

    assert files(package) == files(EXAMPLE)


def test_the_one_block_that_is_not_run_says_so() -> None:
    [block] = [block for block in BLOCKS if not block.title and block.language not in ("console", "python")]
    assert "twine upload dist/*\n" in block.text
    assert TEXT.partition(f"```\n{block.text}")[0].endswith("so vaekit's tests do not run it:\n\n")


def test_the_files_to_publish(package: Path) -> None:
    assert len(list((package / "dist").iterdir())) == 2
    modules = {f"{MODULE}/{name}" for name in ("__init__.py", "dataset.py", "encoder.py", "py.typed")}
    info = f"{MODULE}-{VERSION}.dist-info"
    with zipfile.ZipFile(package / "dist" / f"{MODULE}-{VERSION}-py3-none-any.whl") as wheel:
        kept = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
        assert set(wheel.namelist()) == modules | kept
        about = wheel.read(f"{info}/METADATA").decode()
        assert wheel.read(f"{info}/entry_points.txt").decode().split() == ["[vaekit]", "rings", "=", MODULE]
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["vaekit>=0.1,<0.2"]
    assert "Requires-Dist: vaekit<0.2,>=0.1\n" in about
    assert "License-Expression: MIT\n" in about
    with tarfile.open(package / "dist" / f"{MODULE}-{VERSION}.tar.gz") as source:
        held = {name.removeprefix(f"{MODULE}-{VERSION}/") for name in source.getnames()}
    assert held >= modules | {"pyproject.toml", "README.md", "LICENSE", "tests/test_rings.py", "PKG-INFO"}
    assert not [name for name in held if name.startswith(("runs", "dist"))]

"""Every command and every line of Python in the README runs."""

import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands() -> list[str]:
    return [line.removeprefix("$ ") for block in _blocks("console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run in, with a MNIST of few images in torchvision's layout."""
    folder = tmp_path_factory.mktemp("readme")
    raw = folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, n in (("train", 60), ("t10k", 20)):
        images = torch.randint(256, (n, 28, 28), dtype=torch.uint8).numpy().tobytes()
        labels = torch.randint(10, (n,), dtype=torch.uint8).numpy().tobytes()
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, n, 28, 28) + images)
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, n) + labels)
    return folder


def test_every_command_runs(place: Path) -> None:
    """In order, in one folder: `latest` is what the command before trained."""
    ran = 0
    for command in _commands():
        program, *arguments = shlex.split(command)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            arguments = shlex.split("train digits latent.features=2 --epochs 1")  # what make does, but for the environment
        elif program == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert re.fullmatch(r"vaekit\[(.*)\]", arguments[1])[1] in extras
            continue
        else:
            assert Path(program).name == "vaekit"
        ran += 1
        if arguments[0] == "demo":
            assert _served(place, arguments) == 0
            continue
        done = subprocess.run(
            [sys.executable, "-m", "vaekit", *arguments],
            cwd=place,
            env={**os.environ, "VAEKIT_DATA": str(place / "data")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert ran == len([c for c in _commands() if not c.startswith("pip")]) >= 8


def _served(place: Path, arguments: list[str]) -> int:
    """The exit code of what serves a page, once that was there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "vaekit", *arguments, "--port", str(free.getsockname()[1])]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with urllib.request.urlopen(server.stdout.readline().strip(), timeout=60) as page:
            assert page.status == 200
        server.terminate()
        return server.wait(30)


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    from vaekit.contract import check_part

    check_part(names["Flatten"])


def test_what_it_links_to_and_shows_is_there() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_extras_it_names_are_all_there_are() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"vaekit\[([a-z]+)\]", README)) == set(extras)

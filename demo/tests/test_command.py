"""`vaekit demo`: what it hands on, and that looking at its help costs nothing."""

import subprocess
import sys
from typing import Any

import pytest
import vaekit_demo
from typer.testing import CliRunner, Result

from vaekit.cli import app


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `launch` is given, in place of launching."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(vaekit_demo, "launch", lambda *given, **options: calls.append((*given, options)), raising=False)
    return calls


def test_it_listens_on_this_machine_alone(launched: list[tuple[Any, ...]]) -> None:
    assert _run("latest").exit_code == 0
    assert launched == [(["latest"], {"host": "127.0.0.1", "port": None, "mcp": False, "data_root": None, "train": True})]


def test_what_is_asked_for_is_handed_on(launched: list[tuple[Any, ...]]) -> None:
    assert (
        _run("a", "b/c@d", "--host", "0.0.0.0", "--port", "7870", "--mcp", "--data-root", "data", "--no-train").exit_code == 0
    )
    assert launched == [(["a", "b/c@d"], {"host": "0.0.0.0", "port": 7870, "mcp": True, "data_root": "data", "train": False})]


@pytest.mark.parametrize("arguments", [[], ["latest", "--port", "0"], ["latest", "--port", "65536"], ["latest", "--share"]])
def test_what_is_wrong_is_said(arguments: list[str], launched: list[tuple[Any, ...]]) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert not launched


def test_its_help_imports_neither_torch_nor_gradio() -> None:
    code = """
import sys
from typer.testing import CliRunner
from vaekit.cli import app
assert "--port" in CliRunner().invoke(app, ["demo", "--help"]).stdout
import vaekit_demo
print(sorted({"torch", "gradio", "numpy", "vaekit_demo.app"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_has_no_other_public_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        _ = vaekit_demo.lunch

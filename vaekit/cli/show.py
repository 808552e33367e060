"""How results are printed: aligned columns, or one JSON document."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = ()) -> None:
    """Print rows in aligned columns, the last as long as it likes."""
    cells = [[str(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(max(map(len, cells), default=0))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        typer.echo(typer.style(line, bold=True) if header and not number else line)


def document(value: Any) -> None:
    """Print one JSON document, with escapes for what a terminal would obey."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    typer.echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def command() -> str:
    """How this command is called here: `vaekit` where the shell finds it, else the way to it that was typed."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m vaekit"
    if not Path(sys.argv[0]).is_file():
        return "vaekit"
    found = shutil.which("vaekit")
    here = os.path.realpath(sys.argv[0])
    return "vaekit" if found and os.path.realpath(found) == here else sys.argv[0]

"""Pieces of files that `datasets` reads from their start on alone, given to it as files of their own."""

import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

_PROTOCOL = "vaekit-piece"
_LEAST = 2**20  # bytes of a piece
_MOST = 512  # pieces of a file


def pieces(files: list[str], form: str) -> list[str]:
    """Addresses of what the files hold: JSON lines and archives that are not packed in pieces of a MiB or more, others whole.

    Args:
        files: on this machine, whose addresses are paths.
        form: what `datasets` calls their format.

    Raises:
        OSError: where one cannot be read.
    """
    _register()
    found = []
    for file in files:
        most = max(_LEAST, Path(file).stat().st_size // _MOST)
        bounds = _lines(file, most) if form == "json" else _members(file, most)
        found += [_address(file, low, high) for low, high in pairwise(bounds)] if len(bounds) > 2 else [file]
    return found


def named(address: str) -> str:
    """The path of the file that an address is of."""
    return _parsed(address)[0] if address.startswith(_PROTOCOL) else address


def _lines(file: str, most: int) -> list[int]:
    """Where lines begin, `most` bytes apart, and the end; nothing where the lines are no objects."""
    with open(file, "rb") as opened:
        try:
            if not isinstance(json.loads(opened.readline(most)), dict):
                return []
        except ValueError:
            return []
        opened.seek(-min(most, Path(file).stat().st_size), io.SEEK_END)
        bounds, end = [0], opened.tell() + len(opened.read().rstrip())  # no piece is of empty lines
        while bounds[-1] + most < end:
            opened.seek(bounds[-1] + most)
            opened.readline()
            bounds.append(opened.tell())
        return [*(bounds[:-1] if bounds[-1] >= end else bounds), end]


def _members(file: str, most: int) -> list[int]:
    """Where examples begin in an archive, `most` bytes apart, and the end; nothing where it is packed."""
    bounds, before = [0], ""
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                example = f"{folder}/{name.partition('.')[0]}"
                if example != before and member.offset >= bounds[-1] + most:
                    bounds.append(member.offset)
                before = example
                archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
            return [] if archive.pax_headers else [*bounds, archive.offset]
    except tarfile.TarError:
        return []


def _address(file: str, start: int, stop: int) -> str:
    return f"{_PROTOCOL}://{start}-{stop}-{file.encode().hex()}{Path(file).suffix}"


def _parsed(address: str) -> tuple[str, int, int]:
    start, stop, rest = address.removeprefix(f"{_PROTOCOL}://").split("-")
    return bytes.fromhex(rest.partition(".")[0]).decode(), int(start), int(stop)


def _register() -> None:
    """Have `fsspec`, by which `datasets` opens files, know the addresses."""
    import fsspec

    class Pieces(fsspec.AbstractFileSystem):  # type: ignore[misc]
        """Files that are pieces of others."""

        protocol = _PROTOCOL

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            _, start, stop = _parsed(path)
            return {"name": path, "type": "file", "size": stop - start}

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            file, start, stop = _parsed(path)
            with open(file, "rb") as opened:
                opened.seek(start)
                return _Piece(opened.read(stop - start))

    fsspec.register_implementation(_PROTOCOL, Pieces, clobber=True)


class _Piece(io.BytesIO):
    """Bytes as a file to which `datasets` can add what it adds to files."""

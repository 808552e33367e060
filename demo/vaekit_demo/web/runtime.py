"""ONNX Runtime for browsers: three files of the npm package onnxruntime-web, fetched once and known by their hashes."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit import ConfigError
from vaekit.data.prepare import cache
from vaekit.errors import short

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_MEANT = f"{PACKAGE} {VERSION}"
FILES = {
    "ort.wasm.min.js": (50_196, "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81"),
    "ort-wasm-simd-threaded.mjs": (24_381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    "ort-wasm-simd-threaded.wasm": (14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}
"""What is taken of the package: the size in bytes and the SHA-256 of each file."""
TARBALL = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
"""The SHA-512 of the package as it is published."""


def runtime(given: Path | None = None) -> dict[str, bytes]:
    """The files, by name: of what is given, else as they are kept, else fetched by the npm client and kept.

    Args:
        given: the tarball of the package, or a folder that has its files in it or in `dist`.

    Raises:
        ConfigError: where they are not there, are not those that are meant, or cannot be fetched.
    """
    if given is not None:
        return _given(given.expanduser())
    kept = cache() / f"{PACKAGE}-{VERSION}"
    files = _folder(kept)
    if not all(map(_known, FILES, files.values())):
        files = _fetched()
        _keep(files, kept)
    return files


def _given(path: Path) -> dict[str, bytes]:
    if not path.exists():
        raise ConfigError(f"there is no {short(path)}: give --runtime the tarball of {_MEANT}, or a folder of its files")
    if path.is_file():
        return _unpacked(path)
    files = _folder(path / "dist" if (path / "dist").is_dir() else path)
    for name, data in files.items():
        if not _known(name, data):
            wrong = "is not that" if data else "is not there, or not that"
            raise ConfigError(f"{name} in {short(path)} {wrong} of {_MEANT}: give --runtime the tarball as it is published")
    return files


def _folder(folder: Path) -> dict[str, bytes]:
    """The files in a folder; nothing for those that are not there, or not of their size."""
    return {name: _read(folder / name, size) for name, (size, _) in FILES.items()}


def _read(path: Path, size: int) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size == size else b""
    except OSError:
        return b""


def _known(name: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == FILES[name][1]


def _fetched() -> dict[str, bytes]:
    """Of the package that the npm client fetches."""
    npm = shutil.which("npm")
    by_hand = f"get the npm package {_MEANT} and give --runtime FILE, its tarball or a folder of its files"
    if npm is None:
        raise ConfigError(f"the page needs {PACKAGE}, which is fetched once by npm, and there is no npm here: {by_hand}")
    with TemporaryDirectory(prefix="vaekit-web-") as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
            said = done.stderr
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        found = list(Path(folder).glob("*.tgz"))
        if not found:
            raise ConfigError(f"npm could not fetch {_MEANT} ({short(said) or 'it says no more'}): {by_hand}")
        return _unpacked(found[0])


def _unpacked(path: Path) -> dict[str, bytes]:
    """Of the tarball, which is looked into only once it is known to be the one that is meant."""
    if path.stat().st_size > _MOST or not _same(path):
        raise ConfigError(f"{short(path.name)} is not the package {_MEANT} as it is published: its SHA-512 is another")
    files = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("package/dist/")
            file = archive.extractfile(member) if name in FILES and member.isfile() else None
            if file is not None:
                files[name] = file.read(FILES[name][0])
    if set(files) != set(FILES) or not all(map(_known, files, files.values())):
        raise ConfigError(f"{short(path.name)} lacks files of {_MEANT}: fetch it anew")
    return files


def _same(path: Path) -> bool:
    with path.open("rb") as file:
        digest: Callable[[], str] = hashlib.file_digest(file, "sha512").hexdigest
        return digest() == TARBALL


def _keep(files: dict[str, bytes], folder: Path) -> None:
    """For the next time; a cache that cannot be written is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            new = folder / f".{name}.{os.getpid()}"
            new.write_bytes(data)
            new.replace(folder / name)
    except OSError:
        return


_MOST = 2**26
_SECONDS = 600

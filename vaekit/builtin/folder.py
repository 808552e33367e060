"""A folder of images, with the names of its sub-folders as classes."""

import os
from pathlib import Path

import torch

from vaekit import DataError, DataSet, Examples, Raw, split_named

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm"}


def _load(path: str, root: Path) -> Raw:
    from vaekit import ImageFiles  # brings Pillow, which no model needs

    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, no folder" if folder.exists() else f"no folder {folder}")
    parts = _splits(folder)
    files = {split: _images(part) for split, part in parts.items()}
    for split, there in files.items():
        if not there:
            raise DataError(f"no images in {parts[split]} (looked for {', '.join(sorted(SUFFIXES))})")
    classes = sorted({c for there in files.values() for _, c in there if c})
    labelled = bool(classes) and all(c for there in files.values() for _, c in there)
    every = ImageFiles([path for there in files.values() for path, _ in there])
    numbers = {name: number for number, name in enumerate(classes)}
    y = torch.tensor([numbers[c] for there in files.values() for _, c in there]) if labelled else None
    places = torch.arange(len(every)).split([len(there) for there in files.values()])
    splits = {split: Examples(every, y).take(index) for split, index in zip(files, places, strict=True)}
    return Raw(splits, tuple(classes) if labelled else ())


def _splits(folder: Path) -> dict[str, Path]:
    """The sub-folders that are splits, where `train` and none but such are there; else the folder as one."""
    inside = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    named: dict[str, Path] = {}
    for child in inside:
        split = split_named(child.name)
        if split and split in named:
            raise DataError(f"{named[split]} and {child} are both the {split} split: leave one")
        if split:
            named[split] = child
    others = [child for child in inside if not split_named(child.name)]
    if "train" not in named or (len(named) == 1 and others):
        return {"train": folder}
    if others:
        raise DataError(f"{folder} holds splits ({', '.join(named)}), and {others[0].name!r} besides: move it elsewhere")
    return named


def _images(folder: Path) -> list[tuple[Path, str]]:
    """Every image below `folder` in order, with the sub-folder that it is in; hidden ones are left out, links followed."""
    found: list[tuple[Path, str]] = []
    seen = set()
    for here, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link back up
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        place = Path(here).relative_to(folder).parts
        images = [Path(here, name) for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
        found.extend((path, place[0] if place else "") for path in images)
    return sorted(found)


FOLDER = DataSet("folder", "a folder of images; sub-folders are classes, or train, validation and test", _load, takes_path=True)

"""A folder of images, with the names of its sub-folders as classes."""

from pathlib import Path

import torch

from vaekit import DataError, DataSet, Examples, ImageFiles, Raw

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def _load(path: str, root: Path) -> Raw:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    named = {_SPLITS[child.name]: child for child in sorted(folder.iterdir()) if child.is_dir() and child.name in _SPLITS}
    parts = named if "train" in named else {"train": folder}
    files = {split: _images(part) for split, part in parts.items()}
    for split, there in files.items():
        if not there:
            raise DataError(f"no images in {parts[split]} (looked for {', '.join(sorted(SUFFIXES))})")
    classes = sorted({c for there in files.values() for _, c in there if c})
    labelled = bool(classes) and all(c for there in files.values() for _, c in there)
    every = Examples(
        ImageFiles([path for there in files.values() for path, _ in there]),
        torch.tensor([classes.index(c) for there in files.values() for _, c in there]) if labelled else None,
    )
    places = torch.arange(len(every)).split([len(there) for there in files.values()])
    splits = {split: every.take(index) for split, index in zip(files, places, strict=True)}
    return Raw(splits, tuple(classes) if labelled else ())


def _images(folder: Path) -> list[tuple[Path, str]]:
    """Every image below `folder` in order, with the sub-folder that it is in."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    inside = [path.relative_to(folder).parts for path in found]
    return [(path, parts[0] if len(parts) > 1 else "") for path, parts in zip(found, inside, strict=True)]


FOLDER = DataSet("folder", "a folder of images; sub-folders are classes, or train, validation and test", _load, takes_path=True)

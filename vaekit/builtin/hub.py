"""The data sets of the Hugging Face Hub, under one name; how they are read is imported when one is."""

from pathlib import Path

from vaekit import DataSet, Raw


def _load(path: str, root: Path) -> Raw:
    from vaekit.builtin.hub_sets import load

    return load(path)


HUB = DataSet(
    "hf", "USER/NAME on the Hugging Face Hub, or a folder of such files; streamed, never held", _load, takes_path=True
)

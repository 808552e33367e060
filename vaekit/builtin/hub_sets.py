"""Data sets of the Hugging Face Hub, and folders of the same files: streamed, never held."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from vaekit import ConfigError, DataError, DataSet, Examples, Raw, may_download, split_named
from vaekit.builtin.hub_columns import Columns, columns
from vaekit.builtin.hub_errors import CONVERTED, FORMATS, explained

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<config>[^@]+))?(@(?P<revision>[\w./+-]+))?", re.ASCII)
_FEW = 64  # shards, below which those of parquet are taken apart, and above which others are put together


def _load(path: str, root: Path) -> Raw:
    local = path.startswith((".", "~")) or Path(path).is_absolute()
    if local:
        folder = Path(path).expanduser().absolute()
        if not folder.is_dir():
            raise DataError(f"{folder} is a file, no folder" if folder.exists() else f"no folder {folder}")
        source, of, name = str(folder), {}, str(folder)
    else:
        parsed = _NAME.fullmatch(path)
        if not parsed or path.startswith("buckets/"):
            raise ConfigError(
                f"{path[:80]!r} is no data set: hf:USER/NAME, with :CONFIG and @REVISION if need be, or hf:./FOLDER"
            )
        source = name = parsed["repo"]
        of = {"name": parsed["config"], "revision": parsed["revision"]}
        if Path(source).is_dir():  # which `datasets` would take
            raise ConfigError(f"there is a folder {source} here: give hf:./{source}, or go elsewhere for the Hub's {source}")
        if not may_download():
            raise DataError(f"{name} is on the Hub, and nothing is downloaded here: give a folder of its files, hf:./FOLDER")
    datasets = _library()
    with explained(name, of.get("revision")), _without_bars(datasets):
        builder = datasets.load_dataset_builder(source, **of)
        form = type(builder).__module__.rpartition(".")[2]
        if form not in FORMATS:
            raise DataError(_no_format(name, form))
        return _read(name, builder, form, local)


def _read(name: str, builder: Any, form: str, local: bool) -> Raw:
    files = {split: [str(file) for file in there] for split, there in (builder.config.data_files or {}).items()}
    strange = [file for there in files.values() for file in there if not local and not _is_of(file, name)]
    if strange:
        raise DataError(f"{name} names files that are not its own: none is read")
    found = builder.as_streaming_dataset()
    named: dict[str, str] = {}
    for theirs in found:
        split = split_named(str(theirs))
        if split and split in named:
            raise DataError(f"{name} has splits {named[split]} and {theirs}, which are both {split}")
        if split:
            named[split] = str(theirs)
    if "train" not in named:
        raise DataError(f"{name} has splits {', '.join(map(str, found)) or 'of no name'}: train is needed")
    chosen = columns(found[named["train"]], name)
    if form == "parquet":  # so that nothing else is read
        builder.config.columns, builder.config.batch_size = list(filter(None, (chosen.x, chosen.label))), _AT_ONCE
        found = builder.as_streaming_dataset()
    every = {split: HubShards(name, chosen.of(found[theirs]), chosen, local) for split, theirs in named.items()}
    for split, shards in every.items():
        if form == "parquet":
            shards.measure(files[named[split]])
        elif form == "webdataset" and not local:
            raise DataError(f"{name} does not say how many examples its archives hold; {CONVERTED.format(name)}")
        else:
            shards.count()
    classes = chosen.classes or tuple(map(str, range(max(shards.classes for shards in every.values()))))
    for shards in every.values():
        shards.classes = len(classes)
    return Raw({split: Examples.streamed(shards) for split, shards in every.items()}, classes)


_AT_ONCE = 256  # rows that are unpacked together
_WORTH_ASKING = 2**22  # bytes: about what the Hub's client reads at the least


class HubShards:
    """The examples of one split, in the shards that `datasets` reads.

    Args:
        source: what they are of.
        stream: of `datasets`.
        columns: which of its columns are what.
        local: whether its files are here.
    """

    def __init__(self, source: str, stream: Any, columns: Columns, local: bool) -> None:
        self.source, self.columns, self.local = source, columns, local
        self.stream = stream
        self.classes = 0
        self.lengths: list[int] = []
        self._names: list[tuple[str, int]] = []

    def rows(self, shard: int, start: int) -> Iterator[tuple[Any, int | None]]:
        part = self.stream.shard(len(self.lengths) or min(self.stream.num_shards, _FEW), shard)
        with explained(self.source):
            for row in part.skip(start) if start else part:
                yield self._content(row[self.columns.x]), self._label(row)

    def place(self, shard: int, index: int) -> str:
        name, before = self._names[shard] if self._names else (f"part {shard} of {self.source}", 0)
        return f"example {before + index} of {name}"

    def count(self) -> None:
        """Read everything once, no images: other formats than parquet do not say how many examples there are."""
        most = -1
        lengths = []
        for shard in range(min(self.stream.num_shards, _FEW)):
            part = self.stream.shard(min(self.stream.num_shards, _FEW), shard)
            n = 0
            for row in part:
                n += 1
                most = max(most, -1 if (label := self._label(row)) is None else label)
            lengths.append(n)
        self.lengths = lengths
        self._classes(most)

    def measure(self, files: list[str]) -> None:
        """Take lengths, and the highest label, from what parquet files say of themselves.

        A few files are taken apart into their row groups, which are then shuffled, where each is worth a request.
        """
        from concurrent.futures import ThreadPoolExecutor

        import fsspec
        from pyarrow import parquet

        def read(file: str) -> Any:
            with fsspec.open(file, "rb") as opened:
                return parquet.ParquetFile(opened).metadata

        with ThreadPoolExecutor(16) as pool:
            footers = list(pool.map(read, files))
        self._classes(max((_highest(footer, self.columns.label) for footer in footers), default=-1))
        groups_of = [[footer.row_group(i) for i in range(footer.num_row_groups)] for footer in footers]
        mean = sum(group.total_byte_size for some in groups_of for group in some) // max(1, sum(map(len, groups_of)))
        worthwhile = len(files) < _FEW and (self.local or mean >= _WORTH_ASKING)
        if not worthwhile or not hasattr(self.stream, "reshard"):  # which `datasets` had not from the first
            self.lengths = [footer.num_rows for footer in footers]
            self._names = [(file.rpartition("/")[2], 0) for file in files]
        else:
            self.stream = self.stream.reshard()
            for file, some in zip(files, groups_of, strict=True):
                groups = [group.num_rows for group in some]
                self.lengths += groups
                self._names += [(file.rpartition("/")[2], before) for before in [0, *accumulate(groups)][: len(groups)]]
        if self.stream.num_shards != len(self.lengths):
            raise DataError(
                f"{self.source} has {self.stream.num_shards} shards by `datasets` and {len(self.lengths)} by its files"
            )

    def _classes(self, most: int) -> None:
        if self.columns.label and not self.columns.classes:
            self.classes = most + 1 if most < _MOST_CLASSES else 0

    def _label(self, row: Any) -> int | None:
        label = row.get(self.columns.label)  # which a split for testing may lack
        return None if label is None else int(label)

    def _content(self, x: Any) -> Any:
        if self.columns.numbers:
            with suppress(TypeError, ValueError):  # where it is none: whoever takes it names it
                return np.asarray(x).astype(self.columns.numbers)
        if not isinstance(x, dict):
            return x
        if x["bytes"] is not None or x["path"] is None:
            return x["bytes"]
        import fsspec

        path = str(x["path"])
        if not self.local and not _is_of(path, self.source):
            raise DataError(f"{self.source} names files that are not its own: none is read")
        with fsspec.open(path, "rb") as file:
            return file.read()


_MOST_CLASSES = 10_000


def _highest(footer: Any, label: str) -> int:
    """The highest label in a parquet file; more than any can be where it does not say."""
    names = [footer.schema.column(i).path for i in range(len(footer.schema))]
    if label not in names:
        return -1
    told = [footer.row_group(i).column(names.index(label)).statistics for i in range(footer.num_row_groups)]
    return max((int(t.max) if t is not None and t.has_min_max else _MOST_CLASSES for t in told), default=-1)


def _is_of(file: str, name: str) -> bool:
    """Whether a file is one of a repo on the Hub, perhaps inside of an archive there."""
    return file.rpartition("::")[2].startswith(f"hf://datasets/{name}@")


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise ConfigError("data sets of the Hub need the package datasets: pip install 'vaekit[datasets]'") from None
    return datasets


@contextmanager
def _without_bars(datasets: Any) -> Iterator[None]:
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _no_format(name: str, form: str) -> str:
    if form == "cache":  # where `datasets` looks when there is no network
        return f"the Hub cannot be reached, and {name} is streamed from there"
    return f"{name} is of the format {form}: {', '.join(FORMATS)} are read"


HUB = DataSet(
    "hf", "USER/NAME on the Hugging Face Hub, or a folder of such files; streamed, never held", _load, takes_path=True
)

"""Data sets of the Hugging Face Hub, and folders of the same files: streamed, never held."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit import ConfigError, DataError, Examples, Raw, may_download, split_named
from vaekit.builtin.hub_columns import Columns, columns
from vaekit.builtin.hub_errors import CONVERTED, FORMATS, explained
from vaekit.builtin.hub_pieces import named as named_file
from vaekit.builtin.hub_pieces import pieces

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<config>[^@]+))?(@(?P<revision>[\w./+-]+))?", re.ASCII)
_FEW = 64  # shards, below which those of parquet are taken apart, and above which others are put together


def load(path: str) -> Raw:
    """The data set `USER/NAME`, with `:CONFIG` and `@REVISION` if need be, or that of a folder `./FOLDER`.

    Raises:
        ConfigError: where that is no name.
        DataError: where there is none, or none that can be streamed.
    """
    local = path.startswith((".", "~")) or Path(path).is_absolute()
    if local:
        folder = Path(path).expanduser().absolute()
        if not folder.is_dir():
            raise DataError(f"{folder} is a file, no folder" if folder.exists() else f"no folder {folder}")
        source, name = str(folder), str(folder)
        of: dict[str, str | None] = {}
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
    with explained(name, of.get("revision"), of.get("name")), _without_bars(datasets):
        builder = datasets.load_dataset_builder(source, **of)
        form = type(builder).__module__.rpartition(".")[2]
        if form not in FORMATS:
            raise DataError(_no_format(name, form))
        return replace(_read(name, builder, form, local), source=f"hf:{path}" if local else _pinned(name, of["name"], builder))


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
        if local:
            _read_page_by_page(builder)
        found = builder.as_streaming_dataset()
    if local and form in ("json", "webdataset") and found[named["train"]].features:
        whole, files = files, {split: pieces(there, form) if len(there) < _FEW else there for split, there in files.items()}
        if files != whole:
            builder.config.data_files = files
            found = builder.as_streaming_dataset()
    kind = HubFiles if form == "imagefolder" else HubShards
    every = {split: kind(name, chosen.of(found[theirs]), chosen, local) for split, theirs in named.items()}
    for split, shards in every.items():
        if form == "parquet":
            shards.measure(files[named[split]])
        elif form == "webdataset" and not local:
            raise DataError(f"{name} does not say how many examples its archives hold; {CONVERTED.format(name)}")
        else:
            shards.count([Path(named_file(file)).name for file in files[named[split]]])
    classes = chosen.classes or tuple(map(str, range(max(shards.classes for shards in every.values()))))
    for shards in every.values():
        shards.classes = len(classes)
    return Raw({split: Examples.streamed(shards) for split, shards in every.items()}, classes)


def _pinned(name: str, config: str | None, builder: Any) -> str:
    """The set's name with the commit that its files are of."""
    commit = re.match(r"hf://datasets/[^@]+@([0-9a-f]{40})", str(builder.base_path))
    return "".join([f"hf:{name}", f":{config}" if config else "", f"@{commit[1]}" if commit else ""])


_AT_ONCE = 256  # rows that are unpacked together
_BUFFER = 2**20  # bytes of a file that are read together
_WORTH_ASKING = 2**22  # bytes: about what the Hub's client reads at the least


class HubShards:
    """The examples of one split, in the shards that `datasets` reads.

    Of parquet files on this machine what is before a place is passed over quickly. Other files are read from their start on,
    and groups of rows on the Hub are fetched whole.

    Args:
        source: what they are of.
        stream: of `datasets`.
        columns: which of its columns are what.
        local: whether its files are here.
    """

    def __init__(self, source: str, stream: Any, columns: Columns, local: bool) -> None:
        self.source, self.columns, self.local = source, columns, local
        self.stream = stream
        self.classes = self.stored = 0
        self.seeks = False
        self.lengths: list[int] = []
        self._names: list[tuple[str, int]] = []

    def rows(self, shard: int, start: int) -> Iterator[tuple[Any, int | None]]:
        part = self.stream.shard(len(self.lengths), shard)
        with explained(self.source):
            for row in part.skip(start) if start else part:
                yield self._content(row[self.columns.x]), self._label(row)

    def place(self, shard: int, index: int) -> str:
        name, before = self._names[shard] if self._names else (f"part {shard} of {self.source}", 0)
        return f"example {before + index} of {name}"

    def count(self, files: list[str]) -> None:
        """Read everything once, no images: other formats than parquet do not say how many examples there are.

        Args:
            files: the names of those that the stream is of, or of which it has pieces.
        """
        most = -1
        apart = self.stream.num_shards if len(set(files)) < _FEW else _FEW
        for shard in range(apart):
            n = 0
            for row in self.stream.shard(apart, shard):
                n += 1
                most = max(most, -1 if (label := self._label(row)) is None else label)
                self.stored += _weight(row[self.columns.x])
            self.lengths.append(n)
        if len(files) == apart:
            before = [0, *accumulate(self.lengths)]
            first = {name: before[i] for i, name in reversed(list(enumerate(files)))}
            self._names = [(name, before[i] - first[name]) for i, name in enumerate(files)]
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
        self.stored, self.seeks = sum(_unpacked(footer, self.columns.x) for footer in footers), self.local
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
        if x["bytes"] is None and x["path"] is None:
            return None
        path = str(x["path"] or "")
        return path, partial(self._fetch, path) if x["bytes"] is None else x["bytes"]

    def _fetch(self, path: str) -> bytes:
        import fsspec

        if not self.local and not _is_of(path, self.source):
            raise DataError(f"{self.source} names files that are not its own: none is read")
        with nullcontext() if self.local else explained(self.source), fsspec.open(path, "rb") as file:
            content: bytes = file.read()
            return content


class HubFiles(HubShards):
    """The images of one split that are each a file, in an order that is drawn once: their folders are classes.

    Only their names are held; the threads that decode them fetch them.
    """

    def count(self, files: list[str]) -> None:
        """List them."""
        found = [(row[self.columns.x]["path"], self._label(row)) for row in self.stream]
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()
        self._listed = [found[i] for i in order]
        n = min(len(found), _FEW)
        self._starts = [len(found) * i // n for i in range(n + 1)]
        self.lengths, self.seeks = [stop - start for start, stop in pairwise(self._starts)], True
        self._classes(max((label for _, label in found if label is not None), default=-1))

    def rows(self, shard: int, start: int) -> Iterator[tuple[Any, int | None]]:
        for path, label in self._listed[self._starts[shard] + start : self._starts[shard + 1]]:
            yield self._content({"bytes": None, "path": path}), label

    def place(self, shard: int, index: int) -> str:
        return str(self._listed[self._starts[shard] + index][0])


_MOST_CLASSES = 10_000


def _highest(footer: Any, label: str) -> int:
    """The highest label in a parquet file; more than any can be where it does not say."""
    names = [footer.schema.column(i).path for i in range(len(footer.schema))]
    if label not in names:
        return -1
    told = [footer.row_group(i).column(names.index(label)).statistics for i in range(footer.num_row_groups)]
    return max((int(t.max) if t is not None and t.has_min_max else _MOST_CLASSES for t in told), default=-1)


def _unpacked(footer: Any, x: str) -> int:
    """Bytes of a column in a parquet file."""
    groups = (footer.row_group(i) for i in range(footer.num_row_groups))
    every = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in every if chunk.path_in_schema.partition(".")[0] == x)


def _weight(x: Any) -> int:
    """Bytes of an example as it is stored."""
    return len(x["bytes"] or b"") if isinstance(x, dict) else int(getattr(x, "nbytes", 0))


def _read_page_by_page(builder: Any) -> None:
    """Have parquet files on this machine read page by page, where `datasets` unpacks a whole group of rows for each place."""
    from pyarrow import Table, parquet

    def tables(files: list[str], row_groups_list: Any = None) -> Iterator[tuple[Any, Any]]:
        for number, (file, groups) in enumerate(zip(files, row_groups_list or [None] * len(files), strict=True)):
            with parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as opened:
                for batch in opened.iter_batches(builder.config.batch_size, groups, builder.config.columns):
                    yield number, builder._cast_table(Table.from_batches([batch]))

    builder._generate_tables = tables


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

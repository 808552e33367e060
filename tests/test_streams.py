"""Data sets that are streamed: of the Hugging Face Hub, and of folders of the same files."""

import gc
import io
import json
import os
import re
import signal
import sys
import tarfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
import vaekit.testing
from vaekit import ConfigError, DataError, HubError, recipes, registry, resuming
from vaekit.ambient import Ambient
from vaekit.builtin import hub_pieces, hub_sets
from vaekit.builtin.hub_errors import explained
from vaekit.data import streamed
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples, Raw
from vaekit.data.check import check_labels, check_support
from vaekit.data.offline import offline
from vaekit.data.prepare import SPLITS, load
from vaekit.data.shards import HEADS, Span, cut, part, size, windows
from vaekit.data.streamed import Stream
from vaekit.data.transform import DataOptions
from vaekit.trainer import Trainer

datasets = pytest.importorskip("datasets")
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (240, 6, 5), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _no_bars():
    datasets.disable_progress_bars()


def png(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **options)
    return {"bytes": file.getvalue(), "path": None}


def write(folder, name, columns, features, rows=20):
    """One parquet file, in row groups of so many rows."""
    folder.mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    made.to_parquet(str(folder / f"{name}.parquet"), batch_size=rows)
    return folder


IMAGES = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "eel"])}


def write_images(folder, arrays=GREY, files=3, split="train"):
    for i, some in enumerate(np.array_split(np.arange(len(arrays)), files)):
        columns = {"image": [png(arrays[j]) for j in some], "label": [int(j) % 3 for j in some]}
        write(folder, f"{split}-{i:05}", columns, IMAGES)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


def ids(x):
    """Which of GREY each example of a batch is."""
    table = {array.tobytes(): i for i, array in enumerate(GREY)}
    return [table[(one * 255).round().to(torch.uint8).numpy().tobytes()] for one in x]


class Numbered:
    """Shards of the numbers from 0 on, which count how many of them are at large."""

    source = "numbers"

    def __init__(self, *lengths, classes=0, size=4, seeks=True):
        self.lengths, self.classes, self.n, self.seeks = lengths, classes, size, seeks
        self.stored = sum(lengths) * size * 4
        self.asked, self.given, self.lock = [], 0, threading.Lock()

    def rows(self, shard, start):
        self.asked.append((shard, start))
        for index in range(start, self.lengths[shard]):
            with self.lock:
                self.given += 1
            number = sum(self.lengths[:shard]) + index
            yield np.full(self.n, number, np.float32), number % 3 if self.classes else None

    def place(self, shard, index):
        return f"number {index} of shard {shard}"


def epoch(batches, number=0, position=0):
    batches.epoch = number
    return [x[:, 0].int().tolist() for x, _ in batches.after(position)]


def flat(lists):
    return [one for some in lists for one in some]


class TestPlans:
    @pytest.mark.parametrize("n", [1, 7, 40, 99])
    @pytest.mark.parametrize("lengths", [(100,), (10,) * 10, (1,) * 100, (90, 1, 9), (2,) * 40 + (20,)])
    def test_a_cut_is_disjoint_and_covering(self, lengths, n):
        spans = [Span(i, 0, length) for i, length in enumerate(lengths)]
        head, rest = cut(spans, n)
        assert size(head) == n
        assert size(rest) == 100 - n
        numbers = sorted((s.shard, i) for s in (*head, *rest) for i in range(s.start, s.stop))
        assert numbers == [(i, j) for i, length in enumerate(lengths) for j in range(length)]

    def test_a_cut_is_from_everywhere(self):
        head, _ = cut([Span(i, 0, 10) for i in range(100)], HEADS)
        assert [span.shard for span in head] == [i * 100 // HEADS for i in range(HEADS)]

    def test_parts_and_windows_cover_all_once(self):
        spans = [Span(i, 3, 3 + n) for i, n in enumerate((5, 1, 30, 12))]
        every = [(s.shard, i) for s in spans for i in range(s.start, s.stop)]
        parts = [part(spans, a, b) for a, b in ((0, 11), (11, 11), (11, 40), (40, 48))]
        assert [(s.shard, i) for some in parts for s in some for i in range(s.start, s.stop)] == every
        found = list(windows(spans, 10, 4))
        assert all(size(window) <= 10 for window in found)
        assert sorted((s.shard, i) for window in found for s in window for i in range(s.start, s.stop)) == every


class TestOrder:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch):
        monkeypatch.setattr(streamed, "WINDOW", 40 * (streamed._EACH + 16))  # forty examples

    def batches(self, shards=None, size=16, seed=0, **options):
        return Batches(Examples.streamed(shards or Numbered(30, 50, 1, 70, 49)), size, shuffle=True, seed=seed, **options)

    def test_every_example_once_an_epoch_in_another_order(self):
        batches = self.batches()
        orders = [flat(epoch(batches, number)) for number in range(3)]
        assert all(sorted(order) == list(range(200)) for order in orders)
        assert len({tuple(order) for order in orders}) == 3
        assert orders[1] == flat(epoch(self.batches(), 1))
        assert orders[0] != flat(epoch(self.batches(seed=1)))
        assert len(batches) == 13

    @pytest.mark.parametrize("seeks", [True, False])
    def test_shards_are_mixed(self, seeks):
        first = flat(epoch(self.batches(Numbered(*[100] * 8, seeks=seeks))))[:40]
        assert len({number // 100 for number in first}) >= 4

    def test_parts_of_one_shard_are_mixed(self):
        data = load(Raw({"train": Examples.streamed(Numbered(1000))}), DataOptions(validation=100, test=100))
        for held in (data.validation.x, data.test.x):
            assert {int(number) // 100 for number in held[:, 0]} == set(range(10))
        batches = Batches(data.train, 40, shuffle=True)
        orders = [epoch(batches, number) for number in range(2)]
        assert sorted(flat(orders[0])) == sorted(flat(orders[1])) == sorted(epoch(Batches(data.train, 800))[0])
        assert orders[0] != orders[1]
        for order in orders:
            assert sum(len({number // 100 for number in batch}) for batch in order) / len(order) >= 7
        assert epoch(batches, 1, 11) == orders[1][11:]
        shares = [flat(epoch(Batches(data.train, 40, shuffle=True, share=(rank, 3)))) for rank in range(3)]
        assert len({*flat(shares)}) == len(flat(shares)) == 800

    def test_a_shard_that_is_read_from_its_start_is_read_once(self):
        shards = Numbered(1000, seeks=False)
        data = load(Raw({"train": Examples.streamed(shards)}), DataOptions(validation=100, test=100))
        assert {int(number) // 100 for number in data.test.x[:, 0]} == set(range(10))
        shards.asked.clear()
        assert len(flat(epoch(Batches(data.train, 40, shuffle=True)))) == 800
        assert len(shards.asked) == 1

    @pytest.mark.parametrize("position", [0, 1, 5, 12, 13])
    @pytest.mark.parametrize("ranks", [1, 3])
    def test_what_is_left_is_the_same(self, position, ranks):
        for rank in range(ranks):
            batches = self.batches(share=(rank, ranks))
            assert epoch(batches, 2, position) == epoch(batches, 2)[position:]

    def test_what_is_skipped_is_not_read(self):
        shards = Numbered(*[1000] * 10)
        batches = self.batches(shards, size=100)
        shards.given = 0
        assert len(flat(epoch(batches, 0, 95))) == 500
        assert shards.given <= 600

    @pytest.mark.parametrize("ranks", [2, 3, 5])
    @pytest.mark.parametrize("n", [200, 203, 195])
    def test_ranks_share_an_epoch(self, ranks, n):
        shards = Numbered(30, 50, 1, 70, n - 151)
        each = [self.batches(shards, share=(rank, ranks)) for rank in range(ranks)]
        found = [epoch(batches) for batches in each]
        assert {len(some) for some in found} == {len(each[0])}
        seen = flat(flat(found))
        left_out = n % 16 if n % 16 < ranks else 0
        assert len(seen) == len(set(seen)) == n - left_out
        for rank, batches in enumerate(each):
            assert [len(some) for some in found[rank]] == [batches.sizes(i)[0] for i in range(len(batches))]
        assert flat(epoch(each[0])) != flat(epoch(each[0], 1))

    def test_ranks_read_what_is_theirs(self):
        shards = Numbered(*[100] * 10)
        batches = self.batches(shards, share=(1, 4))
        shards.given = 0
        assert len(flat(epoch(batches))) < 260
        assert shards.given < 310

    def test_in_the_order_of_the_source_unless_shuffled(self):
        shards = Numbered(30, 50, 1, 70, 49)
        assert flat(epoch(Batches(Examples.streamed(shards), 16))) == list(range(200))
        halves = [Batches(Examples.streamed(shards), 15, share=(rank, 2)) for rank in range(2)]
        assert sorted(flat(flat(epoch(half) for half in halves))) == list(range(200))

    def test_little_is_read_ahead(self):
        shards = Numbered(*[500] * 8)
        batches = self.batches(shards, size=8)
        shards.given = taken = 0
        most = max(batches._x.far(8), 8)
        for x, _ in batches:
            taken += len(x)
            assert shards.given - taken <= 2 * 40 + 40 + most + 8
        assert taken == 4000

    @pytest.mark.parametrize("told", [0, 1])
    def test_what_is_read_ahead_is_bounded_in_bytes(self, told, monkeypatch):
        """Tiny examples first, then large ones: whatever size is expected, no more than two windows are held."""
        budget, large = 2**16, 5_000
        monkeypatch.setattr(streamed, "WINDOW", budget)
        monkeypatch.setattr(streamed, "AHEAD", 30)  # one example
        out, lock = {"bytes": 0, "most": 0}, threading.RLock()

        class Counted(bytes):
            def __new__(cls, content):
                with lock:
                    out["bytes"] += len(content)
                    out["most"] = max(out["most"], out["bytes"])
                return super().__new__(cls, content)

            def __del__(self):
                with lock:
                    out["bytes"] -= len(self)

        class Uneven(Numbered):
            def rows(self, shard, start):
                for index in range(start, self.lengths[shard]):
                    yield Counted(png(GREY[index % 240])["bytes"] + bytes(large if index >= 64 else 0)), index

        shards = Uneven(400, 400, classes=400)
        shards.stored = told * 800 * large
        batches = Batches(Examples.streamed(shards), 16, shuffle=True)
        whole = [y.tolist() for _, y in batches]
        assert out["most"] <= 2 * budget + 10 * large
        assert sorted(flat(whole)) == sorted([*range(400), *range(400)])
        for position in (1, 3, 20, 49):
            assert [y.tolist() for _, y in batches.after(position)] == whole[position:]

    def test_few_are_decoded_ahead(self, monkeypatch):
        counts = {"decoded": 0, "most": 0}
        real, lock = Stream.decoded, threading.Lock()

        def counted(self, row):
            with lock:
                counts["decoded"] += 1
            return real(self, row)

        monkeypatch.setattr(Stream, "decoded", counted)
        monkeypatch.setattr(streamed, "WORKERS", 2)
        taken = 0
        for x, _ in self.batches(Numbered(400, 400), size=10):
            taken += len(x)
            counts["most"] = max(counts["most"], counts["decoded"] - taken)
        assert counts["most"] <= 21
        monkeypatch.setattr(streamed, "AHEAD", 16 * 5)  # bytes: five examples
        assert self.batches(Numbered(400))._x.far(10) == 5

    def test_whoever_stops_early_leaves_no_thread(self):
        threads = threading.active_count()
        for _ in self.batches():
            break
        gc.collect()
        assert threading.active_count() == threads

    def test_closing_does_not_wait_for_a_source_that_is_silent(self):
        wake = threading.Event()

        class Silent(Numbered):
            def rows(self, shard, start):
                for row in super().rows(shard, start):
                    if self.given > 130:
                        wake.wait(60)
                    yield row

        batches = iter(self.batches(Silent(1000)))
        next(batches)
        began = time.monotonic()
        batches.close()
        assert time.monotonic() - began < 2
        wake.set()

    def test_a_process_ends_whose_source_is_silent(self, python):
        code = """
            import signal, threading, time
            import numpy as np
            from vaekit.data.batches import Batches
            from vaekit.data.catalog import Examples

            class Silent:
                source, classes, seeks, lengths, stored = "nothing", 0, True, [1000], 16_000

                def rows(self, shard, start):
                    yield np.zeros(4, np.float32), None
                    time.sleep(0 if threading.current_thread() is threading.main_thread() else 600)

                def place(self, shard, index):
                    return f"number {index}"

            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            try:
                next(iter(Batches(Examples.streamed(Silent()), 8)))
            except KeyboardInterrupt:
                print("stopped")
        """
        said = python(textwrap.dedent(code))
        assert said.strip() == "stopped"

    def test_examples_by_number(self):
        examples = Examples.streamed(Numbered(30, 50, 20, classes=3))
        taken = examples.take(torch.tensor([99, 3, 31, 29]))
        assert taken.x[:, 0].tolist() == [99, 3, 31, 29]
        assert taken.y.tolist() == [0, 0, 1, 2]
        assert examples.x.read(42)[0] == 42

    @pytest.mark.parametrize("seed", [0, 1])
    def test_fixed_bits_are_those_of_the_example(self, seed):
        class Half(Numbered):
            def rows(self, shard, start):
                for x, label in super().rows(shard, start):
                    yield x * 0 + 0.5, label

        raw = Raw({"train": Examples.streamed(Half(30, 50, 40, size=40))})
        train = load(raw, DataOptions(binarize="fixed", seed=seed)).train
        batches = Batches(train, 16, shuffle=True)
        patterns = []
        for batches.epoch in (0, 1):
            patterns.append({tuple(one.tolist()) for x, _ in batches for one in x})
        assert patterns[0] == patterns[1]
        assert len(patterns[0]) == len(train)

    def test_dynamic_bits_are_the_same_after_a_position(self):
        class Half(Numbered):
            def rows(self, shard, start):
                for x, label in super().rows(shard, start):
                    yield x * 0 + 0.5, label

        batches = self.batches(Half(200), dynamic=True)
        first = [x for x, _ in batches]
        assert set(torch.cat(first).unique().tolist()) == {0, 1}
        assert all(torch.equal(a, b) for (a, _), b in zip(batches.after(4), first[4:], strict=True))

    @pytest.mark.parametrize(
        ("x", "said"),
        [
            (np.zeros(5, np.float32), r"\(5,\), the first of torch.float32 \(4,\)"),
            (np.zeros(4, np.uint8), "uint8"),
            (np.full(4, np.nan, np.float32), "not finite"),
            (None, "is empty"),
            (np.array(["a"]), "no array of numbers"),
            (OSError("the line is cut"), "cannot be read: OSError: the line is cut"),
            ("missing", "is not there"),
        ],
    )
    def test_an_example_that_is_wrong_is_named(self, x, said):
        class Odd(Numbered):
            def rows(self, shard, start):
                for number, (right, label) in enumerate(super().rows(shard, start), start):
                    if (shard, number) == (1, 17) and isinstance(x, Exception):
                        raise x
                    if (shard, number) == (1, 17) and isinstance(x, str):
                        return
                    yield (x if (shard, number) == (1, 17) else right), label

        with pytest.raises(DataError, match=f"number 17 of shard 1 .*{said}"):
            epoch(self.batches(Odd(30, 50)))

    def test_a_label_that_is_none(self):
        class Odd(Numbered):
            def rows(self, shard, start):
                for x, _ in super().rows(shard, start):
                    yield x, -1

        with pytest.raises(DataError, match="has the label -1: class numbers from 0 to 2"):
            epoch(self.batches(Odd(30, classes=3)))
        assert Examples.streamed(Odd(30, classes=3)).take(torch.arange(5)).y is None


class TestFolders:
    def test_splits_are_cut_and_the_train_split_is_never_held(self, folder):
        data = load(f"hf:{folder}")
        assert data.source == f"hf:{folder}"
        assert load(data.train.x.held()).source is None
        assert [len(getattr(data, split)) for split in SPLITS] == [195, 21, 24]
        assert isinstance(data.train.x, Stream)
        assert isinstance(data.test.x, torch.Tensor)
        assert data.info.classes == ("cat", "dog", "eel")
        assert (data.info.name, data.info.examples, data.info.bytes, data.shape) == ("hf", 195, True, (1, 6, 5))
        x, y = zip(*Batches(data.train, 50, shuffle=True), strict=True)
        numbers, labels = ids(torch.cat(x)), torch.cat(y).tolist()
        held = ids(torch.cat([data.test.x, data.validation.x]) / 255)
        assert sorted([*numbers, *held]) == list(range(240))
        assert all(number % 3 == label for number, label in zip(numbers, labels, strict=True))
        assert data.test.y.tolist() == [number % 3 for number in ids(data.test.x / 255)]
        check_labels(registry.find("context", "labels")(classes=3), data)
        assert [len(getattr(load(f"hf:{folder}", DataOptions(test=7, validation=50)), s)) for s in SPLITS] == [183, 50, 7]

    def test_own_splits_are_kept_but_not_all_of_them(self, tmp_path, monkeypatch):
        write_images(tmp_path, GREY[:100])
        write_images(tmp_path, GREY[100:160], files=2, split="validation")
        write_images(tmp_path, GREY[160:240], split="test")
        data = load(f"hf:{tmp_path}")
        assert [len(getattr(data, split)) for split in SPLITS] == [100, 60, 80]
        assert sorted(ids(data.test.x / 255)) == list(range(160, 240))
        with pytest.raises(ConfigError, match=r"leave out data\.test"):
            load(f"hf:{tmp_path}", DataOptions(test=5))
        monkeypatch.setattr("vaekit.data.prepare.MOST_OF_STREAM", 30)
        assert len(load(f"hf:{tmp_path}").test) == 30

    def test_options_work_on_each_example(self, tmp_path):
        colour = RNG.integers(0, 256, (30, 9, 8, 3), dtype=np.uint8)
        write_images(tmp_path, colour)
        options = DataOptions(crop=8, resize=4, grey=True, binarize="threshold")
        data = load(f"hf:{tmp_path}", options)
        plain = load(torch.from_numpy(colour).permute(0, 3, 1, 2), options)
        assert data.shape == plain.shape == (1, 4, 4)
        found = torch.cat([torch.cat([x for x, _ in Batches(getattr(data, s), 9)]) for s in SPLITS])
        wanted = torch.cat([getattr(plain, s).x for s in SPLITS]) / 255
        assert sorted(map(tuple, found.flatten(1).tolist())) == sorted(map(tuple, wanted.flatten(1).tolist()))

    def test_a_relative_folder(self, folder, monkeypatch):
        monkeypatch.chdir(folder.parent)
        assert len(load(f"hf:./{folder.name}").train) == 195
        monkeypatch.chdir(folder)
        (folder / "a").mkdir(exist_ok=True)
        (folder / "a" / "b").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=r"hf:\./a/b"):
            load("hf:a/b")

    def test_mixed_sizes(self, tmp_path):
        images = [png(GREY[i]) for i in range(30)] + [png(GREY[0][:, :4])]
        write(tmp_path, "train", {"image": images}, {"image": datasets.Image()})
        for options in (DataOptions(), DataOptions(binarize="threshold")):
            data = load(f"hf:{tmp_path}", options)
            said = r"example 30 of train\.parquet is of torch\.uint8 \(1, 6, 4\), the first .*data\.resize=64"
            with pytest.raises(DataError, match=said):
                list(Batches(data.train, 8))
        assert sum(len(x) for x, _ in Batches(load(f"hf:{tmp_path}", DataOptions(resize=3)).train, 8)) == 31 - 3 - 2

    def test_colour_after_grey(self, tmp_path):
        images = [png(GREY[i]) for i in range(30)] + [png(np.zeros((6, 5, 3), np.uint8))]
        write(tmp_path, "train", {"image": images}, {"image": datasets.Image()})
        with pytest.raises(DataError, match=r"example 30 of train\.parquet is in colour, and the first is grey"):
            list(Batches(load(f"hf:{tmp_path}").train, 8))
        assert load(f"hf:{tmp_path}", DataOptions(grey=True)).shape == (1, 6, 5)
        list(Batches(load(f"hf:{tmp_path}", DataOptions(grey=True)).train, 8))

    @pytest.mark.parametrize("x", [{"bytes": b"\x89PNG no", "path": None}, None])
    def test_an_image_that_cannot_be_read(self, x, tmp_path):
        images = [*[png(GREY[i]) for i in range(30)], x]
        write(tmp_path, "train", {"image": images}, {"image": datasets.Image()})
        with pytest.raises(DataError, match=r"example 30 of train\.parquet is (not a readable image|empty)"):
            list(Batches(load(f"hf:{tmp_path}").train, 8))

    def test_a_damaged_file(self, folder, tmp_path):
        (tmp_path / "train-0.parquet").write_bytes((folder / "train-00000.parquet").read_bytes()[:-50])
        with pytest.raises(DataError, match="cannot be read: Arrow"):
            load(f"hf:{tmp_path}")

    @pytest.mark.parametrize(
        ("feature", "x", "shape"),
        [
            (datasets.Array2D((4, 3), "float32"), RNG.random((60, 4, 3), dtype=np.float32), (4, 3)),
            (datasets.Array2D((4, 3), "uint8"), RNG.integers(0, 256, (60, 4, 3), dtype=np.uint8), (1, 4, 3)),
            (datasets.Array3D((3, 4, 5), "uint8"), RNG.integers(0, 256, (60, 3, 4, 5), dtype=np.uint8), (3, 4, 5)),
            (datasets.List(datasets.Value("float32")), RNG.random((60, 7), dtype=np.float32), (7,)),
            (datasets.List(datasets.Value("float64"), length=7), RNG.random((60, 7)), (7,)),
        ],
    )
    def test_arrays_and_plain_labels(self, feature, x, shape, tmp_path):
        label = [i % 4 for i in range(60)]
        write(tmp_path, "train", {"v": x.tolist(), "y": label}, {"v": feature, "y": datasets.Value("int64")})
        data = load(f"hf:{tmp_path}")
        assert data.shape == shape
        assert data.info.classes == tuple("0123")
        found, y = (torch.cat(some) for some in zip(*Batches(data.train, 16, shuffle=True), strict=True))
        scaled = torch.from_numpy(x).float().flatten(1) / (255 if x.dtype == np.uint8 else 1)
        numbers = torch.cdist(found.flatten(1), scaled).argmin(1)
        assert torch.equal(found.flatten(1), scaled[numbers])
        assert (numbers % 4).tolist() == y.tolist()

    @pytest.mark.parametrize(
        ("features", "said"),
        [
            ({"text": "string", "n": "int64"}, r"text \(string\), n \(int64\): none holds examples; one column of images"),
            ({"a": "image", "b": "image"}, r"a \(Image\), b \(Image\): a, b could each be the examples"),
            ({"a": "list", "b": "list"}, "a, b could each"),
        ],
    )
    def test_columns_that_are_not_clear(self, features, said, tmp_path):
        kinds = {"image": datasets.Image(), "list": datasets.List(datasets.Value("float32"))}
        values = {"string": "x", "int64": 1, "image": png(GREY[0]), "list": [0.5, 0.5]}
        columns = {name: [values[kind]] * 5 for name, kind in features.items()}
        write(tmp_path, "train", columns, {name: kinds.get(kind) or datasets.Value(kind) for name, kind in features.items()})
        with pytest.raises(DataError, match=said):
            load(f"hf:{tmp_path}")

    def test_other_columns_are_not_read(self, tmp_path):
        columns = {"image": [png(x) for x in GREY[:40]], "text": ["x" * 1000] * 40, "v": [[0.5]] * 40}
        features = {"image": datasets.Image(), "text": datasets.Value("string"), "v": datasets.List(datasets.Value("float32"))}
        data = load(f"hf:{write(tmp_path, 'train', columns, features)}")
        assert data.train.x.shards.stream.column_names == ["image"]
        assert data.info.classes == ()

    def test_json_and_folders_of_images_are_counted(self, tmp_path):
        lines = [json.dumps({"x": [i / 60, 0.5], "label": i % 2}) for i in range(60)]
        (tmp_path / "json").mkdir()
        (tmp_path / "json" / "train.jsonl").write_text("\n".join(lines))
        data = load(f"hf:{tmp_path / 'json'}")
        assert (len(data.train), data.shape, data.info.classes) == (49, (2,), ("0", "1"))
        assert len(torch.cat([x for x, _ in Batches(data.train, 9, shuffle=True)]).unique(dim=0)) == 49
        for i in range(80):
            place = tmp_path / "images" / "train" / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i}.png").write_bytes(png(GREY[i])["bytes"])
        data = load(f"hf:{tmp_path / 'images'}")
        assert (len(data.train), data.info.classes) == (65, ("a", "b"))
        pairs = list(Batches(data.train, 9, shuffle=True))
        assert [i % 2 for x, _ in pairs for i in ids(x)] == torch.cat([y for _, y in pairs]).tolist()

    @pytest.mark.parametrize("form", ["jsonl", "parquet", "tar", "png"])
    def test_one_file_sorted_by_class(self, form, tmp_path, monkeypatch):
        """Every class is in every split, and batches are mixed, though only some tenth of the set is in a window."""
        monkeypatch.setattr(hub_pieces, "_LEAST", 1000)
        images = np.arange(600, dtype=np.int64).view(np.uint8).reshape(600, 2, 4)
        labels = [i // 60 for i in range(600)]
        if form == "jsonl":
            lines = [
                json.dumps({"x": (image / 255).ravel().tolist(), "label": y}) for image, y in zip(images, labels, strict=True)
            ]
            (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n" * 50)
        elif form == "parquet":
            features = {"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)}
            write(tmp_path, "train", {"image": [png(image) for image in images], "label": labels}, features, rows=600)
        elif form == "tar":
            with tarfile.open(tmp_path / "train.tar", "w") as archive:
                for i, (image, y) in enumerate(zip(images, labels, strict=True)):
                    for suffix, content in (("png", png(image)["bytes"]), ("cls", str(y).encode())):
                        info = tarfile.TarInfo(f"{i:03}.{suffix}")
                        info.size = len(content)
                        archive.addfile(info, io.BytesIO(content))
        else:
            for i, (image, y) in enumerate(zip(images, labels, strict=True)):
                (tmp_path / f"class-{y}").mkdir(exist_ok=True)
                (tmp_path / f"class-{y}" / f"{i}.png").write_bytes(png(image)["bytes"])
        data = load(f"hf:{tmp_path}", DataOptions(validation=60, test=60))
        monkeypatch.setattr(streamed, "WINDOW", 60 * data.train.x.stored)
        assert all(set(part.y.tolist()) == set(range(10)) for part in (data.validation, data.test))
        batches = Batches(data.train, 32, shuffle=True)
        found = [(x, y) for x, y in batches]
        assert sum(len(y.unique()) for _, y in found) / len(found) >= 6
        whole = torch.cat([x.flatten(1) for x, _ in found])
        numbers = (whole * 255).round().to(torch.uint8).numpy().copy().view(np.int64).ravel().tolist()
        assert len({*numbers}) == 480
        assert [number // 60 for number in numbers] == torch.cat([y for _, y in found]).tolist()
        again = [x for x, _ in batches.after(7)]
        assert all(torch.equal(one, other) for one, (other, _) in zip(again, found[7:], strict=True))

    @pytest.mark.parametrize("indent", [1, None])
    def test_json_that_is_not_in_lines_is_read_whole(self, indent, tmp_path, monkeypatch):
        monkeypatch.setattr(hub_pieces, "_LEAST", 100)
        rows = [{"x": [i / 60, 0.5], "label": i % 2} for i in range(60)]
        (tmp_path / "train.json").write_text(json.dumps(rows, indent=indent))
        assert len(load(f"hf:{tmp_path}").train) == 49

    def test_a_file_is_named_by_its_path(self, tmp_path):
        for i in range(40):
            (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
            (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(png(GREY[i])["bytes"] if i != 17 else b"\x89PNG no")
        with pytest.raises(DataError, match=r"/b/17\.png is not a readable image"):
            [list(Batches(getattr(load(f"hf:{tmp_path}"), split), 8)) for split in SPLITS]
        images = [*[png(GREY[i]) for i in range(30)], {"bytes": b"\x89PNG no", "path": "cats/17.png"}]
        folder = write(tmp_path / "parquet", "train", {"image": images}, {"image": datasets.Image()})
        with pytest.raises(DataError, match=r"example 30 of train\.parquet \(cats/17\.png\) is not a readable image"):
            list(Batches(load(f"hf:{folder}").train, 8))

    def test_splits_share_the_memory_with_one_another_and_other_ranks(self, tmp_path, monkeypatch):
        write_images(tmp_path, GREY[:100])
        write_images(tmp_path, GREY[100:160], files=1, split="validation")
        write_images(tmp_path, GREY[160:220], files=1, split="test")
        monkeypatch.setattr("vaekit.data.catalog._memory", lambda: 4 * 30 * 120)
        assert isinstance(load(f"hf:{tmp_path}").test.x, torch.Tensor)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        assert isinstance(load(f"hf:{tmp_path}").test.x, Stream)
        monkeypatch.delenv("LOCAL_WORLD_SIZE")
        monkeypatch.setattr("vaekit.data.catalog._memory", lambda: 4 * 30 * 119)
        assert isinstance(load(f"hf:{tmp_path}").test.x, Stream)

    def test_archives_are_counted(self, tmp_path):
        for i in range(2):
            with tarfile.open(tmp_path / f"train-{i}.tar", "w") as archive:
                for j in range(i * 30, i * 30 + 30):
                    for suffix, content in (("png", png(GREY[j])["bytes"]), ("cls", str(j % 3).encode())):
                        info = tarfile.TarInfo(f"{j:03}.{suffix}")
                        info.size = len(content)
                        archive.addfile(info, io.BytesIO(content))
        data = load(f"hf:{tmp_path}")
        assert (len(data.train), data.info.classes) == (49, ("0", "1", "2"))
        pairs = list(Batches(data.train, 9, shuffle=True))
        assert [i % 3 for x, _ in pairs for i in ids(x)] == torch.cat([y for _, y in pairs]).tolist()

    @pytest.mark.parametrize("names", [["holdout"], ["val", "validation", "train"]])
    def test_splits_of_other_names(self, names, tmp_path):
        (tmp_path / "data").mkdir()
        for name in names:
            write_images(tmp_path / "data", GREY[:9], files=1, split=name)
        card = "".join(f"  - split: {name}\n    path: data/{name}-*\n" for name in names)
        (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{card}---\n")
        with pytest.raises(DataError, match=r"train is needed|both validation"):
            load(f"hf:{tmp_path}")

    def test_nothing_there(self, tmp_path):
        for path, said in (("no-such", "no folder"), ("", "holds no data files"), ("file", "is a file, no folder")):
            (tmp_path / "file").touch()
            if not path:
                (tmp_path / "file").unlink()
            with pytest.raises(DataError, match=said):
                load(f"hf:{tmp_path / path}")

    def test_loading_changes_no_global_state(self, folder):
        datasets.enable_progress_bars()
        before = Ambient.now()
        list(Batches(load(f"hf:{folder}").train, 50, shuffle=True))
        assert before.changes() == []
        assert datasets.is_progress_bar_enabled()

    def test_it_passes_the_checks_of_data_sets(self, folder):
        for check in vaekit.testing.checks_for(registry.dataset("hf"), {"path": folder}):
            check()


class TestSupport:
    def test_bytes_that_all_fit_are_not_read(self, folder, monkeypatch):
        data = load(f"hf:{folder}")
        monkeypatch.setattr(Stream, "each", None)
        assert check_support(registry.find("likelihood", "gaussian")((1, 6, 5)), data) == ""

    def test_the_first_are_looked_at(self, folder, monkeypatch):
        data = load(f"hf:{folder}", DataOptions(binarize="threshold"))
        bernoulli = registry.find("likelihood", "bernoulli")((1, 6, 5))
        assert check_support(bernoulli, data) == ""
        assert "pseudo-likelihood" in check_support(bernoulli, load(f"hf:{folder}"))
        assert check_support(bernoulli, load(f"hf:{folder}", DataOptions(binarize="dynamic"))) == ""

    def test_a_value_outside_is_named(self):
        data = load(Raw({"train": Examples.streamed(Numbered(60))}))
        with pytest.raises(DataError, match=r"in train, number \d+ of shard 0, at \(0,\) is outside the support"):
            check_support(registry.find("likelihood", "bernoulli")((4,)), data)

    def test_those_after_the_first_are_checked_when_they_come(self, monkeypatch):
        class Late(Numbered):
            def rows(self, shard, start):
                for index, (x, label) in enumerate(super().rows(shard, start), start):
                    yield x * 0 + (1.5 if (shard, index) == (1, 33) else 0.5), label

        monkeypatch.setattr("vaekit.data.check.FIRST_OF_STREAM", 10)
        data = load(Raw({"train": Examples.streamed(Late(50, 50))}))
        assert "pseudo-likelihood" in check_support(registry.find("likelihood", "bernoulli")((4,)), data)
        with pytest.raises(DataError, match=r"1\.5 in train, number 33 of shard 1, at \(0,\) is outside the support"):
            list(Batches(data.train, 16, shuffle=True))


class TestTheHub:
    @pytest.fixture
    def files(self, folder):
        return {f"data/{path.name}": path.read_bytes() for path in folder.glob("*.parquet")}

    @pytest.mark.parametrize("name", ["mnist", "a/b/c", "a b/c", "buckets/x", "parquet", "a/b@", "https://a/b"])
    def test_names_that_are_none(self, name):
        with pytest.raises(ConfigError, match="is no data set: hf:USER/NAME"):
            load(f"hf:{name}")

    def test_nothing_is_asked_where_it_may_not_be(self, hub):
        with offline(), pytest.raises(DataError, match=r"alice/set is on the Hub, and nothing is downloaded here"):
            load("hf:alice/set")
        assert hub.asked() == []

    def test_without_the_package(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(ConfigError, match=r"pip install 'vaekit\[datasets\]'"):
            load(f"hf:{folder}")

    def test_a_set_is_streamed(self, hub, files, patient):
        commit = hub.put("alice/set", files, kind="datasets")
        branched = hub.put("alice/set", {"train.parquet": files["data/train-00001.parquet"]}, kind="datasets", branch="old")
        data = load("hf:alice/set")
        assert data.source == f"hf:alice/set@{commit}"
        assert data.info.classes == ("cat", "dog", "eel")
        batches = Batches(data.train, 16, shuffle=True)
        whole = [x for x, _ in batches]
        assert len(set(ids(torch.cat(whole)))) == 195
        assert all(torch.equal(a, b) for (a, _), b in zip(batches.after(5), whole[5:], strict=True))
        old = load("hf:alice/set@old")
        assert old.source == f"hf:alice/set@{branched}"
        hub.put("alice/set", {"train.parquet": files["data/train-00002.parquet"]}, kind="datasets", branch="old")
        pinned = load(old.source)
        assert (pinned.source, torch.equal(pinned.test.x, old.test.x)) == (old.source, True)
        assert {*range(80, 160)} >= set(ids(torch.cat([x for x, _ in Batches(old.train, 16)])))
        assert not [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.suffix == ".parquet"]

    def test_a_run_is_of_the_commit_that_it_began_with(self, hub, files, patient, tmp_path):
        commit = hub.put("alice/set", files, kind="datasets")
        about = {"encoder": {"hidden": [4]}, "decoder": {"hidden": [4]}, "latent": {"features": 2}}
        run = vaekit.fit("hf:alice/set", **about, epochs=1, output=tmp_path, name="r", progress=False)
        assert run.record["source"] == f"hf:alice/set@{commit}"
        tested = run.tested
        hub.put("alice/set", {"data/train-00000.parquet": files["data/train-00002.parquet"]}, kind="datasets")
        assert vaekit.resume(run.path, progress=False).tested == tested
        same = recipes.start(None, False).but("hf:alice/set", about, {}, {"epochs": 1})
        assert resuming.existing(run.path, same) is not None
        other = recipes.start(None, False).but(f"hf:alice/set@{'0' * 40}", about, {}, {"epochs": 1})
        with pytest.raises(ConfigError, match="is a run of something else"):
            resuming.existing(run.path, other)

    def test_a_folder_of_images_is_fetched_by_the_threads_that_decode(self, hub, patient, monkeypatch):
        names = [f"train/{'ab'[i % 2]}/{i}.png" for i in range(60)]
        hub.put("alice/pictures", {name: png(GREY[i])["bytes"] for i, name in enumerate(names)}, kind="datasets")
        fetching, real = set(), hub_sets.HubShards._fetch

        def fetch(self, path):
            fetching.add(threading.get_ident())
            return real(self, path)

        monkeypatch.setattr(hub_sets.HubShards, "_fetch", fetch)
        data = load("hf:alice/pictures")
        hub.asked()
        found = list(Batches(data.train, 16, shuffle=True))
        assert [i % 2 for x, _ in found for i in ids(x)] == torch.cat([y for _, y in found]).tolist()
        assert len(fetching) > 2
        assert sum("resolve" in asked for asked in hub.asked()) <= len(data.train) + 2

    def test_what_the_hub_has_not(self, hub, files, patient):
        card = "".join(f"- config_name: {name}\n  data_files: data/train-0000{i}.parquet\n" for i, name in enumerate("ab"))
        outside = "configs:\n- config_name: a\n  data_files: /etc/passwd"
        hub.put("alice/set", files, kind="datasets")
        hub.put("alice/private", files, kind="datasets", private=True)
        hub.put("alice/gated", files, kind="datasets", gated="manual")
        hub.put("alice/empty", {"README.md": b"---\nlicense: mit\n---\nhello"}, kind="datasets")
        hub.put("alice/script", {"script.py": b"raise SystemExit", **files}, kind="datasets")
        hub.put("alice/two", {"README.md": f"---\nconfigs:\n{card}---\n".encode(), **files}, kind="datasets")
        hub.put("alice/out", {"README.md": f"---\n{outside}\n---\n".encode(), **files}, kind="datasets")
        for name, kind, said in (
            ("alice/none", HubError, "no data set alice/none on the Hub, or it is private"),
            ("alice/private", HubError, "no data set alice/private on the Hub, or it is private"),
            ("alice/gated", HubError, "alice/gated is gated"),
            ("alice/set@no", HubError, "alice/set has no revision no"),
            ("alice/empty", DataError, "alice/empty holds no data files"),
            ("alice/script", DataError, "nobody's code is run"),
            ("alice/two", DataError, r"hf:alice/two:CONFIG takes one of \['a', 'b'\]"),
            ("alice/two:c", DataError, r"has no set 'c', it holds others: hf:alice/two:CONFIG takes one of \['a', 'b'\]"),
            ("alice/set:c", DataError, "has no set 'c', it holds one set: hf:alice/set takes it"),
            ("alice/out", DataError, "alice/out"),
        ):
            with pytest.raises(kind, match=said) as raised:
                load(f"hf:{name}")
            assert "\n" not in str(raised.value)
            assert "127.0.0.1" not in str(raised.value)
        two = load("hf:alice/two:b")
        assert len(two.train) == 65
        assert re.fullmatch("hf:alice/two:b@[0-9a-f]{40}", two.source)

    @pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}])
    def test_no_network(self, fault, hub, files, patient, monkeypatch):
        monkeypatch.setattr(datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0)
        monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 1)
        hub.put("alice/set", files, kind="datasets")
        data = load("hf:alice/set")
        hub.fault(path="", times=999, **fault)
        for attempt in (lambda: load("hf:alice/set"), lambda: list(Batches(data.train, 16, shuffle=True))):
            with pytest.raises(HubError, match=r"alice/set") as raised:
                attempt()
            assert "127.0.0.1" not in str(raised.value)

    @pytest.mark.parametrize(
        ("error", "kind", "said"),
        [
            (datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist"), HubError, "no data set a/b on the Hub"),
            (datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset"), HubError, "a/b is gated"),
            (ConnectionError("[Errno 101] 10.1.2.3"), HubError, "cannot be reached"),
            (RuntimeError("Dataset scripts are no longer supported"), DataError, "nobody's code is run.*hf:a/b@refs/convert"),
            (ValueError("Config name is missing, of the available configs: ['x', 'y']"), DataError, "'x', 'y'"),
            (ValueError("/home/me/.cache/x is odd"), DataError, "a/b cannot be read: ValueError: … is odd"),
            (OSError("hf_" + "x" * 30), DataError, "hf_…"),
        ],
    )
    def test_what_goes_wrong_is_one_line(self, error, kind, said):
        with pytest.raises(kind, match=said) as raised, explained("a/b"):
            raise error
        assert "\n" not in str(raised.value)
        assert "10.1.2.3" not in str(raised.value)


SMALL = {"batch_size": 16, "progress": False, "encoder": {"hidden": [8]}, "latent": {"features": 2}, "decoder": {"hidden": [8]}}


def test_training_stops_and_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    options = {**SMALL, "epochs": 2, "context": "labels", "data_options": {"binarize": "dynamic"}}
    whole = vaekit.fit(f"hf:{folder}", output=tmp_path / "whole", **options)
    assert whole.status == "done"
    assert [row["step"] for row in whole.metrics if row["split"] == "train"] == [13, 26]
    real = Trainer._batch
    with monkeypatch.context() as patch:

        def batch(self, *args):
            real(self, *args)
            if self.steps == 18:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(Trainer, "_batch", batch)
        stopped = vaekit.fit(f"hf:{folder}", output=tmp_path / "stopped", **options)
    assert stopped.status == "interrupted"
    continued = vaekit.resume(stopped.path, progress=False)
    assert continued.status == "done"
    for (name, here), there in zip(
        vaekit.load(continued.path).state_dict().items(), vaekit.load(whole.path).state_dict().values(), strict=True
    ):
        assert torch.equal(here, there), name

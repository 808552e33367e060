"""Data as people give them, prepared for training: arrays, splits, options, batches, and what a likelihood can score."""

import gc
import itertools
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, random_split

from vaekit import ConfigError, DataError, Examples, ImageFiles, Raw, registry
from vaekit.data import catalog
from vaekit.data.ahead import ahead
from vaekit.data.batches import Batches
from vaekit.data.check import check_labels, check_support
from vaekit.data.prepare import SPLITS, load
from vaekit.data.transform import DataOptions

BYTES = torch.randint(0, 256, (200, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
COLOUR = torch.randint(0, 256, (50, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
FLOATS = torch.rand(200, 1, 6, 5, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(200) % 7


def numbers(data):
    return torch.cat([getattr(data, split).numbers for split in SPLITS])


def in_order(data):
    """All examples of a set that was cut into splits, in the order of the source."""
    return torch.cat([getattr(data, split).x for split in SPLITS])[numbers(data).argsort()]


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


class Stored:
    """A Lazy of tensors, which counts who reads at once."""

    mixed = ""

    def __init__(self, x, workers=3, pause=0.0):
        self.x, self.shape, self.workers, self.pause = x, tuple(x[0].shape), workers, pause
        self.reads, self.reading, self.most = [], 0, 0
        self.lock = threading.Lock()

    def __len__(self):
        return len(self.x)

    def read(self, index):
        with self.lock:
            self.reads.append(index)
            self.reading += 1
            self.most = max(self.most, self.reading)
        time.sleep(self.pause)
        with self.lock:
            self.reading -= 1
        return self.x[index]


@pytest.fixture
def tiny_machine(monkeypatch):
    """A machine with so little memory that nothing is held."""
    monkeypatch.setattr(catalog, "_memory", lambda: 0)


@pytest.fixture(params=["held", "streamed"])
def memory(request):
    if request.param == "streamed":
        request.getfixturevalue("tiny_machine")
    return request.param


class TestArrays:
    @pytest.mark.parametrize("give", [lambda x: x, lambda x: x.numpy(), lambda x: list(x), lambda x: list(x.numpy())])
    @pytest.mark.parametrize("x", [BYTES, FLOATS])
    def test_x(self, x, give):
        data = load(give(x))
        assert data.info.name == "data"
        assert data.info.bytes == (x.dtype == torch.uint8)
        assert data.train.y is None
        assert torch.equal(in_order(data), x)

    @pytest.mark.parametrize(
        "y",
        [LABELS, LABELS.numpy(), LABELS.tolist(), LABELS[:, None], LABELS.to(torch.uint8), LABELS.numpy().astype(np.uint16)],
    )
    def test_x_and_y(self, y):
        data = load((BYTES, y))
        for split in SPLITS:
            assert torch.equal(getattr(data, split).y, LABELS[getattr(data, split).numbers])
        assert data.info.classes == tuple("0123456")

    @pytest.mark.parametrize(
        "x", [BYTES.numpy()[::-1], BYTES.numpy()[:, :, ::-1, ::2], np.broadcast_to(BYTES[:1], BYTES.shape)]
    )
    def test_arrays_that_torch_would_not_take(self, x):
        assert torch.equal(in_order(load(x)), torch.from_numpy(x.copy()))
        frozen = x.copy()
        frozen.flags.writeable = False
        assert torch.equal(in_order(load(frozen)), torch.from_numpy(x.copy()))

    def test_gradients_are_left_behind(self):
        assert not load(FLOATS.clone().requires_grad_()).train.x.requires_grad

    @pytest.mark.parametrize("x", [FLOATS.double(), FLOATS.bfloat16(), FLOATS.half()])
    def test_floats_of_any_precision_become_single(self, x):
        assert torch.equal(in_order(load(x)), x.float())

    @pytest.mark.parametrize("x", [BYTES[:, 0] > 127, (BYTES[:, 0] > 127).to(torch.uint8)])
    def test_booleans_and_bytes_of_bits_are_black_and_white(self, x):
        assert torch.equal(in_order(load(x)), x[:, None].to(torch.uint8) * 255)

    @pytest.mark.parametrize(
        ("y", "match"),
        [
            (LABELS[:-1], r"labels of shape \(199,\)"),
            (torch.nn.functional.one_hot(LABELS), r"labels of shape \(200, 7\)"),
            (LABELS - 1, "label 0 of the array is -1"),
            (LABELS.float(), "float32"),
            (LABELS > 3, "bool"),
            (np.array(["a"] * 200), "no array of numbers"),
            (LABELS * 10_000, "classes"),
            (3, "labels of shape"),
        ],
    )
    def test_labels_that_are_none(self, y, match):
        with pytest.raises(DataError, match=match):
            load((BYTES, y))

    @pytest.mark.parametrize("x", [LABELS, torch.zeros(200, 4, dtype=torch.int64), np.zeros((200, 4), np.int32), [[1, 2]] * 9])
    def test_integers_other_than_bytes(self, x):
        with pytest.raises(DataError, match="and counts as floats"):
            load(x)

    @pytest.mark.parametrize("x", [torch.rand(9), torch.rand(9, 0), torch.rand(2, 2, 2, 2, 2), torch.rand(())])
    def test_shapes_that_are_no_data(self, x):
        with pytest.raises(DataError, match="has shape"):
            load(x)

    @pytest.mark.parametrize("x", [None, {"x": FLOATS}, 3, object(), {1, 2}])
    def test_other_things(self, x):
        with pytest.raises(DataError, match="data are a name, arrays x or"):
            load(x)

    @pytest.mark.parametrize("x", [[[0.1, 0.2], [0.3]], [torch.rand(2), torch.rand(3)], ["a", "b"], []])
    def test_lists_that_are_no_arrays(self, x):
        with pytest.raises(DataError, match="the array"):
            load(x)


class TestDatasets:
    @pytest.mark.parametrize(
        "items",
        [
            TensorDataset(BYTES, LABELS),
            Items(*zip(BYTES, LABELS, strict=True)),
            Items(*zip(BYTES[:, 0].numpy(), LABELS.tolist(), strict=True)),
            Items(*([x[0], y] for x, y in zip(BYTES, LABELS.numpy(), strict=True))),
            Items(*((Image.fromarray(x[0].numpy()), int(y)) for x, y in zip(BYTES, LABELS, strict=True))),
            Subset(TensorDataset(BYTES, LABELS), range(200)),
        ],
    )
    def test_pairs(self, items, memory):
        data = load(items)
        assert data.shape == (1, 6, 5)
        x, y = next(iter(Batches(data.train, 1000)))
        assert torch.equal(x, BYTES[data.train.numbers].float() / 255)
        assert torch.equal(y, LABELS[data.train.numbers])

    @pytest.mark.parametrize("items", [TensorDataset(FLOATS), Items(*FLOATS), Items(*FLOATS.double())])
    def test_x_alone(self, items, memory):
        data = load(items)
        assert data.train.y is None
        x, y = next(iter(Batches(data.train, 1000)))
        assert torch.equal(x, FLOATS[data.train.numbers])
        assert y is None

    def test_colour_pictures(self, memory):
        data = load(Items(*(Image.fromarray(x.permute(1, 2, 0).numpy()) for x in COLOUR)))
        x, _ = next(iter(Batches(data.train, 1000)))
        assert torch.equal(x, COLOUR[data.train.numbers].float() / 255)

    @pytest.mark.parametrize("of", [torch.bool, torch.uint8])
    def test_bits(self, of, memory):
        bits = BYTES > 127
        data = load(TensorDataset(bits.to(of)))
        x, _ = next(iter(Batches(data.train, 1000)))
        assert torch.equal(x, bits[data.train.numbers].float())

    def test_a_part_of_a_set(self):
        part, _ = random_split(TensorDataset(BYTES, LABELS), [50, 150])
        assert len(numbers(load(part))) == 50

    @pytest.mark.parametrize(
        ("items", "match"),
        [
            (Items(), "empty"),
            (Items(*FLOATS[:5], FLOATS[0, :, :3]), r"item 5 .*\(1, 3, 5\).*\(1, 6, 5\)"),
            (Items(*FLOATS[:5], BYTES[0]), r"item 5 .*uint8.*float32"),
            (Items(*FLOATS[:5], "a string"), "item 5"),
            (Items(*FLOATS[:5], {"x": FLOATS[5]}), "item 5"),
            (Items(*FLOATS[:5], OSError("the disk is gone")), "item 5 .*OSError: the disk is gone"),
            (Items((FLOATS[0], 1), (FLOATS[1], 1.5)), "item 1 .*float64"),
            (Items((FLOATS[0], 1), (FLOATS[1], -1)), "item 1 .*is -1"),
            (Items((FLOATS[0], 1), (FLOATS[1], "cat")), "item 1"),
            (Items((FLOATS[0], 1), (FLOATS[1], torch.tensor([0, 1]))), "item 1"),
            (Items((FLOATS[0], 1), FLOATS[1]), "item 1 .*no label"),
            (Items(FLOATS[0], (FLOATS[1], 1)), "item 1 .*has a label"),
            (Items((FLOATS[0], 1, 2)), "item 0 .*3 parts"),
            (Items(*torch.arange(50).reshape(5, 10)), "item 0 .*int64"),
            (Dataset(), "no length"),
        ],
    )
    def test_items_that_are_wrong_are_named(self, items, match, memory):
        with pytest.raises(DataError, match=match):
            load(items)

    def test_an_iterable_dataset(self):
        class Endless(IterableDataset):
            def __iter__(self):
                while True:
                    yield FLOATS[0]

        with pytest.raises(DataError, match="no length"):
            load(Endless())


class TestSplits:
    @pytest.mark.parametrize("n", [3, 10, 57, 200])
    def test_disjoint_and_covering(self, n):
        data = load(BYTES[:n])
        assert sorted(numbers(data).tolist()) == list(range(n))
        assert all(len(getattr(data, split)) for split in SPLITS)

    def test_sizes_as_asked(self):
        data = load(BYTES, DataOptions(validation=30, test=50))
        assert [len(getattr(data, split)) for split in SPLITS] == [120, 30, 50]

    def test_examples_are_data(self):
        assert torch.equal(in_order(load(Examples(BYTES))), BYTES)

    def test_own_splits_are_kept(self):
        splits = {"train": Examples(BYTES[:100]), "validation": Examples(BYTES[100:130]), "test": Examples(BYTES[130:])}
        data = load(Raw(splits))
        assert all(torch.equal(getattr(data, split).x, splits[split].x) for split in SPLITS)
        with pytest.raises(ConfigError, match=r"leave out data\.test"):
            load(Raw(splits), DataOptions(test=5))

    @pytest.mark.parametrize("n", [1, 2])
    def test_too_few_examples(self, n):
        with pytest.raises(DataError, match="leave none"):
            load(BYTES[:n])

    def test_more_asked_than_there_is(self):
        with pytest.raises(DataError, match="leave none"):
            load(BYTES, DataOptions(test=200))

    @pytest.mark.parametrize("empty", SPLITS)
    def test_an_empty_split(self, empty):
        splits = {split: Examples(BYTES[:0] if split == empty else BYTES[:20]) for split in SPLITS}
        with pytest.raises(DataError, match=f"the {empty} split of data is empty"):
            load(Raw(splits))

    @pytest.mark.parametrize("names", [["test"], [], ["train", "holdout"]])
    def test_splits_of_other_names(self, names):
        with pytest.raises(DataError, match="train is needed"):
            load(Raw({name: Examples(BYTES) for name in names}))

    def test_splits_of_other_shapes(self):
        with pytest.raises(DataError, match=r"\(1, 6, 5\), test of \(1, 5, 5\)"):
            load(Raw({"train": Examples(BYTES), "test": Examples(BYTES[:, :, 1:])}))

    def test_a_label_without_a_name(self):
        with pytest.raises(DataError, match="a label of data is 6, but there are 3 classes"):
            load(Raw({"train": Examples(BYTES, LABELS)}, ("a", "b", "c")))

    def test_names_of_classes_are_bounded_text(self):
        names = ("x" * 100, "bad \udcff", *"cdefg")
        classes = load(Raw({"train": Examples(BYTES, LABELS)}, names)).info.classes
        assert classes[0] == "x" * 64
        assert classes[1].encode("utf-8")

    @pytest.mark.parametrize(
        ("x", "y"), [(torch.zeros(5, 2, dtype=torch.int64), None), (FLOATS.double(), None), (BYTES, LABELS[:5])]
    )
    def test_examples_that_are_none(self, x, y):
        with pytest.raises(DataError):
            Examples(x, y)


def bits_of(data):
    return {split: getattr(data, split).x for split in SPLITS}


class TestOptions:
    def test_crop_takes_the_middle(self):
        assert torch.equal(in_order(load(COLOUR, DataOptions(crop=8))), COLOUR[:, :, 2:10, 1:9])

    @pytest.mark.parametrize("x", [COLOUR, COLOUR.float() / 255])
    @pytest.mark.parametrize(
        ("resize", "shape"), [(6, (3, 6, 6)), ((4, 7), (3, 4, 7)), ([24, 40], (3, 24, 40)), (1, (3, 1, 1))]
    )
    def test_resize_gives_the_size_and_keeps_the_type(self, x, resize, shape):
        data = load(x, DataOptions(resize=resize))
        assert data.shape == shape
        assert data.train.x.dtype == x.dtype

    def test_resize_covers_and_cuts_from_the_middle(self):
        """Columns of one colour: what is left and right of the middle square is not in the picture."""
        x = torch.zeros(10, 1, 8, 16, dtype=torch.uint8)
        x[..., 4:12] = 200
        assert in_order(load(x, DataOptions(resize=8))).unique().tolist() == [200]
        assert in_order(load(x, DataOptions(resize=4)))[..., 1:3].unique().tolist() == [200]

    @pytest.mark.parametrize("side", [3, 12, 30])
    def test_resize_leaves_even_pictures_even(self, side):
        levels = torch.arange(0, 250, 5, dtype=torch.uint8)[:, None, None, None].expand(50, 1, 9, 13)
        assert torch.equal(in_order(load(levels, DataOptions(resize=side)))[:, 0, 0, 0], levels[:, 0, 0, 0])

    def test_resize_halves_by_means(self):
        """Against Pillow, whose bilinear filter is the same."""
        ours = in_order(load(COLOUR, DataOptions(resize=(6, 5))))
        for x, y in zip(COLOUR, ours, strict=True):
            theirs = np.array(Image.fromarray(x.permute(1, 2, 0).numpy()).resize((5, 6), Image.Resampling.BILINEAR))
            assert (torch.from_numpy(theirs).permute(2, 0, 1).int() - y.int()).abs().max() <= 1

    def test_crop_comes_before_resize(self):
        both = in_order(load(COLOUR, DataOptions(crop=8, resize=4)))
        assert torch.equal(both, in_order(load(COLOUR[:, :, 2:10, 1:9], DataOptions(resize=4))))

    def test_grey_is_pillows(self):
        ours = in_order(load(COLOUR, DataOptions(grey=True)))
        assert ours.shape == (50, 1, 12, 10)
        for x, y in zip(COLOUR, ours[:, 0], strict=True):
            theirs = np.array(Image.fromarray(x.permute(1, 2, 0).numpy()).convert("L"))
            assert (torch.from_numpy(theirs).int() - y.int()).abs().max() <= 1

    def test_grey_leaves_grey(self):
        assert torch.equal(in_order(load(BYTES, DataOptions(grey=True))), BYTES)

    @pytest.mark.parametrize("x", [BYTES, FLOATS, FLOATS.mul(4).round() / 4])
    def test_threshold(self, x):
        p = x.float() / 255 if x.dtype == torch.uint8 else x
        data = load(x, DataOptions(binarize="threshold"))
        assert torch.equal(in_order(data), (p >= 0.5).to(torch.uint8) * 255)

    @pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
    def test_draws_depend_on_the_seed_alone(self, binarize):
        options = DataOptions(binarize=binarize, seed=3)
        first = bits_of(load(FLOATS, options))
        torch.manual_seed(99)
        again, other = bits_of(load(FLOATS, options)), bits_of(load(FLOATS, DataOptions(binarize=binarize, seed=4)))
        assert all(torch.equal(first[split], again[split]) for split in SPLITS)
        assert not torch.equal(first["test"], other["test"])
        if binarize == "fixed":
            assert not torch.equal(first["train"], other["train"])

    @pytest.mark.parametrize("grey", [0, 26, 128, 230, 255])
    def test_means_of_draws_are_the_grey_value(self, grey):
        x = torch.full((1000, 1, 10, 10), grey, dtype=torch.uint8)
        p = grey / 255
        data = load(x, DataOptions(binarize="fixed"))
        for split in SPLITS:
            bits = getattr(data, split).x
            assert set(bits.unique().tolist()) <= {0, 255}
            error = (p * (1 - p) / bits.numel()) ** 0.5
            assert abs(bits.float().mean() / 255 - p) <= 4 * error
        drawn = data.train.x.float()[:, 0] / 255
        assert ((drawn.mean(0) - p).abs() <= 5 * (p * (1 - p) / len(drawn)) ** 0.5).all()

    def test_pixels_examples_and_splits_are_drawn_apart(self):
        half = Raw({split: Examples(torch.full((100, 100), 0.5)) for split in SPLITS})
        bits = bits_of(load(half, DataOptions(binarize="fixed")))
        every = torch.cat([bits[split].float() / 127.5 - 1 for split in SPLITS])
        correlations = (every @ every.T / 100)[~torch.eye(300, dtype=torch.bool)]
        assert correlations.abs().max() < 0.6  # six standard errors
        assert abs(correlations.std() - 0.1) < 0.01

    def test_dynamic_draws_training_anew_and_the_others_once(self):
        data = load(FLOATS, DataOptions(binarize="dynamic"))
        assert torch.equal(data.train.x, FLOATS[data.train.numbers])
        assert set(data.test.x.unique().tolist()) == {0, 255}
        assert set(data.validation.x.unique().tolist()) == {0, 255}
        batches = Batches(data.train, 50, dynamic=True)
        epochs = []
        for batches.epoch in (0, 1, 0):
            epochs.append(torch.cat([x for x, _ in batches]))
        assert set(epochs[0].unique().tolist()) == {0, 1}
        assert torch.equal(epochs[0], epochs[2])
        assert not torch.equal(epochs[0], epochs[1])

    @pytest.mark.parametrize("binarize", ["threshold", "fixed", "dynamic"])
    @pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), float("inf")])
    def test_binarize_needs_probabilities(self, binarize, value):
        x = FLOATS.clone()
        x[:, 0, 2, 3] = value
        with pytest.raises(DataError, match=rf"{value} in \w+\[0\] at \(0, 2, 3\)"):
            load(x, DataOptions(binarize=binarize))

    @pytest.mark.parametrize("options", [{"crop": 3}, {"resize": 4}, {"grey": True}])
    def test_options_for_images_alone(self, options):
        with pytest.raises(ConfigError, match=f"data.{next(iter(options))} is for images"):
            load(FLOATS[:, 0], DataOptions(**options))

    def test_options_that_do_not_fit_the_images(self):
        with pytest.raises(ConfigError, match=r"data\.crop=11 is more than an image has \(12x10\)"):
            load(COLOUR, DataOptions(crop=11))
        with pytest.raises(ConfigError, match="3 channels"):
            load(torch.rand(9, 2, 4, 4), DataOptions(grey=True))

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"binarise": "fixed"}, "did you mean 'binarize'"),
            ({"binarize": "dynamik"}, "'dynamic'"),
            ({"binarize": True}, "binarize"),
            ({"resize": 0}, "resize"),
            ({"resize": [3]}, "resize"),
            ({"resize": "64"}, "resize"),
            ({"crop": 2.5}, "crop"),
            ({"crop": 10**6}, "crop"),
            ({"grey": 1}, "grey"),
            ({"test": 0}, "test"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_wrong_options(self, options, match):
        with pytest.raises(ConfigError, match=match):
            DataOptions(**options)

    @pytest.mark.parametrize(
        "options", [{}, {"resize": 4}, {"crop": 5, "grey": True}, {"binarize": "fixed"}, {"binarize": "dynamic"}]
    )
    def test_what_is_held_and_what_is_streamed_are_the_same(self, options, tiny_machine, monkeypatch):
        items = TensorDataset(COLOUR, LABELS[:50])
        streamed = load(items, DataOptions(**options))
        assert not isinstance(streamed.train.x, torch.Tensor)
        monkeypatch.undo()
        held = load(items, DataOptions(**options))
        assert isinstance(held.train.x, torch.Tensor)
        assert streamed.info == held.info
        for split in SPLITS:
            kinds = [Batches(getattr(d, split), 7, shuffle=True, seed=5) for d in (streamed, held)]
            for (x, y), (x_held, y_held) in zip(*kinds, strict=True):
                assert torch.equal(x, x_held)
                assert torch.equal(y, y_held)

    @pytest.mark.parametrize(("x", "of_bytes"), [(BYTES, True), (FLOATS, False)])
    def test_the_info_says_whether_there_were_bytes(self, x, of_bytes, memory):
        assert load(TensorDataset(x)).info.bytes is of_bytes

    def test_the_info_says_what_was_done(self):
        info = load(COLOUR, DataOptions(crop=8, resize=4, grey=True, binarize="fixed", seed=3)).info
        assert (info.crop, info.resize, info.grey, info.binarize, info.seed, info.examples) == (8, (4, 4), True, "fixed", 3, 41)


class TestBatches:
    @pytest.mark.parametrize("size", [1, 7, 200, 1000])
    @pytest.mark.parametrize("shuffle", [False, True])
    @pytest.mark.parametrize("lazy", [False, True])
    def test_an_epoch_covers_every_example_once(self, size, shuffle, lazy):
        x = torch.arange(200.0)[:, None]
        batches = Batches(Examples(Stored(x) if lazy else x, torch.arange(200)), size, shuffle=shuffle)
        found = list(batches)
        assert [len(x) for x, _ in found] == [size] * (200 // size) + [200 % size] * (200 % size > 0)
        assert len(found) == len(batches)
        seen = torch.cat([y for _, y in found])
        assert torch.equal(torch.cat([x for x, _ in found])[:, 0], seen.float())
        assert seen.sort().values.tolist() == list(range(200))
        assert (seen.tolist() == list(range(200))) is not shuffle

    def test_the_order_depends_on_seed_and_epoch_alone(self):
        def order(seed, epoch):
            batches = Batches(Examples(BYTES, torch.arange(200)), 64, shuffle=True, seed=seed)
            batches.epoch = epoch
            return torch.cat([y for _, y in batches])

        first = order(0, 0)
        torch.manual_seed(7)
        state = torch.get_rng_state()
        assert torch.equal(first, order(0, 0))
        assert torch.equal(state, torch.get_rng_state())
        orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
        assert len({tuple(o.tolist()) for o in orders}) == 9

    def test_order_and_pixels_and_model_draw_from_streams_of_their_own(self):
        batches = Batches(Examples(torch.full((50, 50), 0.5)), 50, dynamic=True)
        (bits, _), *_ = batches
        torch.manual_seed(0)
        theirs = torch.rand(50, 50) < 0.5
        assert 0.4 < (bits == theirs).float().mean() < 0.6

    @pytest.mark.parametrize("lazy", [False, True])
    def test_bytes_are_scaled_and_floats_kept(self, lazy):
        for stored, wanted in ((BYTES, BYTES.float() / 255), (FLOATS, FLOATS)):
            (x, y), *_ = Batches(Examples(Stored(stored) if lazy else stored), 1000)
            assert x.dtype == torch.float32
            assert torch.equal(x, wanted)
            assert y is None
        x, _ = next(iter(Batches(Examples(Stored(FLOATS.double())), 1000)))
        assert x.dtype == torch.float32

    def test_streaming_runs_in_parallel_and_not_far_ahead(self):
        lazy = Stored(BYTES, workers=3, pause=0.001)
        taken = 0
        for x, _ in Batches(Examples(lazy), 10):
            taken += len(x)
            assert len(lazy.reads) <= taken + 10 * lazy.workers
        assert 1 < lazy.most <= lazy.workers

    def test_whoever_stops_early_is_not_kept_waiting(self):
        lazy = Stored(BYTES, workers=2, pause=0.01)
        threads = threading.active_count()
        for _ in Batches(Examples(lazy), 10):
            break
        gc.collect()
        assert len(lazy.reads) <= 40
        assert threading.active_count() == threads

    def test_an_error_arrives_in_its_turn(self, tmp_path):
        for i in range(20):
            Image.fromarray(BYTES[i, 0].numpy()).save(tmp_path / f"{i:02}.png")
        files = ImageFiles(sorted(tmp_path.iterdir()))
        (tmp_path / "15.png").unlink()
        batches = iter(Batches(Examples(files), 5))
        assert [len(next(batches)[0]) for _ in range(3)] == [5, 5, 5]
        with pytest.raises(DataError, match=r"15\.png"):
            next(batches)

    @pytest.mark.parametrize("size", [0, -1])
    def test_no_batch_is_empty(self, size):
        with pytest.raises(ConfigError, match="at least one"):
            Batches(Examples(BYTES), size)

    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_reading_ahead_of_an_endless_line(self, workers):
        pulled = itertools.count()
        squares = ahead(lambda i: i * i, pulled, workers)
        assert [next(squares) for _ in range(5)] == [0, 1, 4, 9, 16]
        squares.close()
        assert next(pulled) == 5 + workers


def likelihood(name, shape=(1, 6, 5), **options):
    return registry.find("likelihood", name)(shape, **options)


def with_value(x, value, n=57, place=(0, 2, 3)):
    x = x.clone()
    x[(n, *place)] = value
    return x


class TestSupport:
    @pytest.mark.parametrize("x", [BYTES, FLOATS])
    def test_grey_under_bernoulli_is_a_pseudo_likelihood(self, x, memory):
        remark = check_support(likelihood("bernoulli"), load(TensorDataset(x)))
        assert "pseudo-likelihood" in remark
        assert "binarize" in remark

    def test_one_grey_example_is_enough(self, memory):
        x = FLOATS.round()
        x[57] = 0.25
        remark = check_support(likelihood("bernoulli"), load(TensorDataset(x)))
        assert "0.25" in remark
        assert "number 57 of the source" in remark

    @pytest.mark.parametrize(
        ("x", "binarize"),
        [
            (BYTES, "threshold"),
            (BYTES, "fixed"),
            (BYTES, "dynamic"),
            (FLOATS, "dynamic"),
            (BYTES > 127, "none"),
            (FLOATS.round(), "none"),
        ],
    )
    def test_binary_under_bernoulli_needs_no_remark(self, x, binarize, memory):
        assert check_support(likelihood("bernoulli"), load(TensorDataset(x), DataOptions(binarize=binarize))) == ""

    @pytest.mark.parametrize("value", [1.5, -0.25, float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("n", [0, 57, 199])
    def test_a_value_outside_is_named_with_its_place(self, value, n, memory):
        data = load(TensorDataset(with_value(FLOATS, value, n)))
        split = next(s for s in SPLITS if n in getattr(data, s).numbers)
        index = getattr(data, split).numbers.tolist().index(n)
        with pytest.raises(DataError) as raised:
            check_support(likelihood("bernoulli"), data)
        assert f"{value:g} in {split}[{index}], number {n} of the source, at (0, 2, 3)" in str(raised.value)

    def test_in_splits_of_the_source_the_index_is_the_sources(self):
        data = load(Raw({"train": Examples(FLOATS), "test": Examples(with_value(FLOATS, 1.5))}))
        with pytest.raises(DataError, match=r"1\.5 in test\[57\] at \(0, 2, 3\)"):
            check_support(likelihood("bernoulli"), data)

    @pytest.mark.parametrize("name", ["gaussian", "laplace"])
    def test_densities_on_the_reals_score_all_numbers_but_no_others(self, name, memory):
        x = torch.randn(200, 1, 6, 5) * 100
        assert check_support(likelihood(name), load(TensorDataset(x))) == ""
        assert check_support(likelihood(name), load(TensorDataset(BYTES))) == ""
        for value in (float("nan"), float("inf")):
            with pytest.raises(DataError, match="not finite"):
                check_support(likelihood(name), load(TensorDataset(with_value(x, value))))

    @pytest.mark.parametrize("name", ["discretized-logistic", "categorical"])
    def test_levels(self, name, memory):
        assert check_support(likelihood(name), load(TensorDataset(BYTES))) == ""
        assert check_support(likelihood(name), load(TensorDataset(BYTES.float() / 255))) == ""
        with pytest.raises(DataError, match=f"0.3.* is outside the support of likelihood '{name}'"):
            check_support(likelihood(name), load(TensorDataset(with_value(BYTES.float() / 255, 76.5 / 255))))

    def test_bytes_of_fewer_levels(self, memory):
        few = BYTES // 64 * 85
        assert check_support(likelihood("categorical", levels=4), load(TensorDataset(few))) == ""
        with pytest.raises(DataError, match=r"in \w+\[\d+\], number 57 of the source, at \(0, 2, 3\)"):
            check_support(likelihood("categorical", levels=4), load(TensorDataset(with_value(few, 7))))

    def test_streams_are_not_read_further_than_needed(self, tiny_machine):
        lazy = Stored(BYTES)
        data = load(Raw({split: Examples(lazy) for split in SPLITS}))
        lazy.reads.clear()
        check_support(likelihood("gaussian"), data)
        check_support(likelihood("bernoulli"), data)
        assert len(lazy.reads) < 60

    def test_sequences_and_vectors(self):
        for x in (FLOATS[:, 0], FLOATS[:, 0, 0]):
            place = (2, 3)[: x.dim() - 1]
            data = load(with_value(x, 2.0, place=place))
            with pytest.raises(
                DataError, match=rf"2 in \w+\[\d+\], number 57 of the source, at \({', '.join(map(str, place))},?\)"
            ):
                check_support(likelihood("bernoulli", tuple(x.shape[1:])), data)


class TestLabels:
    def test_enough_classes(self):
        check_labels(registry.find("context", "labels")(classes=7), load((BYTES, LABELS)))

    def test_an_unconditional_model_needs_none(self):
        check_labels(registry.find("context", "none")(), load(BYTES))

    def test_too_few_classes(self):
        with pytest.raises(ConfigError, match="data has 7 classes"):
            check_labels(registry.find("context", "labels")(classes=5), load((BYTES, LABELS)))

    def test_no_labels(self):
        with pytest.raises(DataError, match="'labels' needs labels"):
            check_labels(registry.find("context", "labels")(classes=7), load(BYTES))

    def test_no_labels_in_one_split(self):
        data = load(Raw({"train": Examples(BYTES, LABELS), "test": Examples(BYTES)}))
        with pytest.raises(DataError, match="none in its test split"):
            check_labels(registry.find("context", "labels")(classes=7), data)


def test_factors_go_with_their_examples() -> None:
    factors = torch.arange(20).reshape(10, 2)
    examples = Examples(torch.rand(10, 3), factors=factors)
    assert examples.take(torch.tensor([3, 1])).factors.tolist() == [[6, 7], [2, 3]]
    with pytest.raises(DataError, match=r"10 examples have factors of shape \(10,\): \(N, F\) is wanted"):
        Examples(torch.rand(10, 3), factors=factors[:, 0])

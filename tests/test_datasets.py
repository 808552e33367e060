"""Named data sets: the bundled digits, torchvision's, folders of images, and arrays in files."""

import gzip
import hashlib
import http.server
import os
import pickle
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import vaekit.builtin.images
from vaekit import ConfigError, DataError, ImageFiles, UnknownPart
from vaekit.data.prepare import SPLITS, load
from vaekit.data.transform import DataOptions

RNG = np.random.default_rng(0)
MNIST_LIKE = [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
IDX_CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def images(n, *shape):
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def idx(array):
    big_endian = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    return (
        bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + big_endian.tobytes()
    )


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def every(data):
    """All examples of a set that was cut into splits, in the order of the source."""
    numbers = torch.cat([getattr(data, split).numbers for split in SPLITS])
    assert sorted(numbers.tolist()) == list(range(len(numbers)))
    return torch.cat([getattr(data, split).x for split in SPLITS])[numbers.argsort()]


class TestDigits:
    def test_every_digit_is_in_one_split(self):
        from sklearn.datasets import load_digits

        data, source = load("digits"), load_digits()
        assert data.shape == (1, 8, 8)
        assert data.train.x.dtype == torch.uint8
        assert data.info.classes == tuple("0123456789")
        assert torch.equal(every(data)[:, 0], torch.from_numpy(np.round(source.images / 16 * 255)).to(torch.uint8))
        assert sum(len(getattr(data, split)) for split in SPLITS) == 1797
        for split in SPLITS:
            examples = getattr(data, split)
            assert torch.equal(examples.y, torch.from_numpy(source.target)[examples.numbers])

    def test_the_splits_do_not_depend_on_any_seed(self):
        before = load("digits")
        torch.manual_seed(123)
        after = load("digits", DataOptions(seed=5))
        assert all(torch.equal(getattr(before, split).x, getattr(after, split).x) for split in SPLITS)

    def test_takes_no_path(self):
        with pytest.raises(ConfigError, match="takes no path"):
            load("digits:somewhere")


@pytest.fixture
def closed(monkeypatch):
    """Downloads go to a port where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    send_to(address, monkeypatch)


def send_to(address, monkeypatch):
    sets = torchvision.datasets
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        monkeypatch.setattr(getattr(sets, name), "mirrors", [address])
    monkeypatch.setattr(sets.EMNIST, "url", address + "gzip.zip")
    monkeypatch.setattr(sets.CIFAR10, "url", address + "cifar.tar.gz")
    split_list = {split: [address, file, md5] for split, (_, file, md5) in sets.SVHN.split_list.items()}
    monkeypatch.setattr(sets.SVHN, "split_list", split_list)
    monkeypatch.setattr(sets.CelebA, "file_list", [])


def write_mnist(root, name, train=40, test=6, stems=("train", "t10k"), first=0, suffix=""):
    made = {}
    for stem, n in zip(stems, (train, test), strict=True):
        x, y = images(n, 28, 20), (np.arange(n) % 10 + first).astype(np.uint8)
        pack = gzip.compress if suffix else bytes
        write(root / name / "raw" / f"{stem}-images-idx3-ubyte{suffix}", pack(idx(x)))
        write(root / name / "raw" / f"{stem}-labels-idx1-ubyte{suffix}", pack(idx(y)))
        made[stem] = x, y
    return made


class TestTorchvision:
    @pytest.mark.parametrize(("name", "folder"), MNIST_LIKE)
    def test_reads_idx_files_under_the_root(self, name, folder, tmp_path, closed):
        made = write_mnist(tmp_path, folder)
        data = load(name, root=tmp_path)
        assert data.shape == (1, 28, 20)
        assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 6)
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(made["t10k"][0]))
        assert torch.equal(data.test.y, torch.from_numpy(made["t10k"][1]).long())
        assert torch.equal(data.train.x[:, 0], torch.from_numpy(made["train"][0])[data.train.numbers])
        assert len(data.info.classes) == 10

    def test_emnist_letters_stand_upright_and_count_from_0(self, tmp_path, closed):
        stems = ("emnist-letters-train", "emnist-letters-test")
        made = write_mnist(tmp_path, "EMNIST", stems=stems, first=1)
        data = load("emnist-letters", root=tmp_path)
        x, y = made["emnist-letters-test"]
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(x.transpose(0, 2, 1)))
        assert data.test.y.tolist() == (y - 1).tolist()
        assert data.info.classes[:3] == ("a", "b", "c")
        assert len(data.info.classes) == 26

    def test_the_environment_names_the_root(self, tmp_path, closed, monkeypatch):
        write_mnist(tmp_path, "MNIST")
        monkeypatch.setenv("VAEKIT_DATA", str(tmp_path))
        assert len(load("mnist").test) == 6

    @pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "emnist-letters", "cifar10", "svhn", "celeba"])
    def test_missing_data_are_one_quick_error(self, name, tmp_path, closed, capsys):
        start = time.monotonic()
        with pytest.raises(DataError) as raised:
            load(name, root=tmp_path / "nowhere")
        assert time.monotonic() - start < 5
        assert str(tmp_path / "nowhere") in str(raised.value)
        assert "--data-root" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert capsys.readouterr().out == ""

    def test_a_root_that_is_a_file(self, tmp_path, closed):
        with pytest.raises(DataError, match="--data-root"):
            load("mnist", root=write(tmp_path / "file", b""))

    def test_a_silent_server_is_not_waited_for(self, tmp_path, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as server:
            send_to(f"http://127.0.0.1:{server.getsockname()[1]}/", monkeypatch)
            monkeypatch.setattr(vaekit.builtin.images, "_PATIENCE", 0.2)
            start = time.monotonic()
            with pytest.raises(DataError, match="timed out"):
                load("mnist", root=tmp_path)
        assert time.monotonic() - start < 5
        assert socket.getdefaulttimeout() is None

    def test_a_download_says_nothing_on_standard_output(self, tmp_path, monkeypatch, capsys):
        made = write_mnist(tmp_path / "www", "MNIST", suffix=".gz")
        served = tmp_path / "www" / "MNIST" / "raw"
        resources = [(f.name, hashlib.md5(f.read_bytes()).hexdigest()) for f in served.iterdir()]
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(served))

            def log_message(self, *args):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            send_to(f"http://127.0.0.1:{server.server_port}/", monkeypatch)
            data = load("mnist", root=tmp_path / "root")
            server.shutdown()
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(made["t10k"][0]))
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"nonsense, and a lot of it", idx(images(6, 28, 20))[:-9]])
    def test_damaged_files_are_named_as_such(self, content, tmp_path, closed):
        write_mnist(tmp_path, "MNIST")
        write(tmp_path / "MNIST/raw/t10k-images-idx3-ubyte", content)
        with pytest.raises(DataError, match=r"MNIST under .* are damaged"):
            load("mnist", root=tmp_path)

    def test_labels_that_do_not_fit(self, tmp_path, closed):
        write_mnist(tmp_path, "MNIST")
        write(tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte", idx(np.zeros(5, np.uint8)))
        with pytest.raises(DataError, match=r"are damaged .*t10k-images-idx3-ubyte has 6 examples and labels of shape"):
            load("mnist", root=tmp_path)

    def test_svhn(self, tmp_path, closed, monkeypatch):
        from scipy.io import savemat

        x, y = images(20, 32, 32, 3), np.arange(20) % 10 + 1  # the digit 0 is written as 10
        lists = {}
        for split in ("train", "test"):
            savemat(tmp_path / f"{split}.mat", {"X": x.transpose(1, 2, 3, 0), "y": y[:, None]})
            lists[split] = ["", f"{split}.mat", hashlib.md5((tmp_path / f"{split}.mat").read_bytes()).hexdigest()]
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
        data = load("svhn", root=tmp_path)
        assert torch.equal(data.test.x, torch.from_numpy(x).permute(0, 3, 1, 2))
        assert data.test.y.tolist() == (y % 10).tolist()

    def test_celeba(self, tmp_path, closed, monkeypatch):
        names = [f"{i:06}.jpg" for i in range(1, 7)]
        for name in names:
            save(tmp_path / "celeba/img_align_celeba" / name, images(1, 218, 178, 3)[0])
        lines = {
            "list_eval_partition.txt": [f"{name} {i // 2}" for i, name in enumerate(names)],
            "identity_CelebA.txt": [f"{name} 1" for name in names],
            "list_bbox_celeba.txt": ["6", "a b", *(f"{name} 1 2" for name in names)],
            "list_landmarks_align_celeba.txt": ["6", "a b", *(f"{name} 1 2" for name in names)],
            "list_attr_celeba.txt": ["6", "a b", *(f"{name} 1 -1" for name in names)],
        }
        for file, content in lines.items():
            write(tmp_path / "celeba" / file, "\n".join(content).encode())
        data = load("celeba", DataOptions(crop=148, resize=16), tmp_path)
        assert data.shape == (3, 16, 16)
        assert [len(getattr(data, split)) for split in SPLITS] == [2, 2, 2]
        (tmp_path / "celeba/img_align_celeba" / names[5]).unlink()
        with pytest.raises(DataError, match=names[5]):
            load("celeba", DataOptions(resize=16), tmp_path)


class TestRealData:
    """Of the data root in the environment, where there is one."""

    @pytest.fixture
    def root(self, request):
        root, folder = os.environ.get("VAEKIT_DATA"), request.getfixturevalue("folder")
        if not root or not Path(root, folder).exists():
            pytest.skip(f"VAEKIT_DATA names no data root with {folder}")
        return root

    @pytest.mark.parametrize(
        ("name", "folder", "shape", "sizes", "mean"),
        [
            ("mnist", "MNIST", (1, 28, 28), (55_000, 5_000, 10_000), [0.1307]),
            ("fashion-mnist", "FashionMNIST", (1, 28, 28), (55_000, 5_000, 10_000), [0.2860]),
            ("cifar10", "cifar-10-batches-py", (3, 32, 32), (45_000, 5_000, 10_000), [0.4914, 0.4822, 0.4465]),
        ],
    )
    def test_what_is_published_of_it_holds(self, name, folder, shape, sizes, mean, root):
        data = load(name, root=root)
        assert data.shape == shape
        assert tuple(len(getattr(data, split)) for split in SPLITS) == sizes
        assert len(data.info.classes) == 10
        pixels = data.train.x.float().mean((0, 2, 3)) * sizes[0] + data.validation.x.float().mean((0, 2, 3)) * sizes[1]
        torch.testing.assert_close(pixels / (sizes[0] + sizes[1]) / 255, torch.tensor(mean), atol=1e-4, rtol=0)
        counts = torch.cat([data.train.y, data.validation.y, data.test.y]).bincount()
        assert len(counts) == 10
        assert counts.sum() == sum(sizes)


class TestFolder:
    def test_subfolders_are_classes(self, tmp_path):
        pixels = images(30, 6, 5)
        for i, x in enumerate(pixels):
            save(tmp_path / ("cat", "dog", "emu")[i % 3] / f"{i:02}.png", x)
        data = load(f"folder:{tmp_path}")
        assert data.shape == (1, 6, 5)
        assert data.info.classes == ("cat", "dog", "emu")
        assert data.info.name == "folder"
        in_order = torch.from_numpy(np.concatenate([pixels[i::3] for i in range(3)]))
        assert torch.equal(every(data)[:, 0], in_order)
        for split in SPLITS:
            assert torch.equal(getattr(data, split).y, getattr(data, split).numbers // 10)

    def test_without_subfolders_there_are_no_labels(self, tmp_path):
        for i in range(10):
            save(tmp_path / f"{i}.png", images(1, 4, 4)[0])
        data = load(f"folder:{tmp_path}")
        assert data.train.y is None
        assert data.info.classes == ()

    @pytest.mark.parametrize("names", [("train", "validation", "test"), ("train", "val", "test"), ("Train", "Valid", "Test")])
    def test_subfolders_may_be_splits(self, names, tmp_path):
        for n, split in enumerate(names, start=1):
            for i in range(n):
                save(tmp_path / split / "ab"[i % 2] / f"{i}.png", np.full((4, 4), 10 * n + i, np.uint8))
        data = load(f"folder:{tmp_path}")
        assert [getattr(data, split).x[:, 0, 0, 0].tolist() for split in SPLITS] == [[10], [20, 21], [30, 32, 31]]
        assert data.info.classes == ("a", "b")
        assert data.test.y.tolist() == [0, 0, 1]

    def test_a_class_may_be_called_train(self, tmp_path):
        for kind in ("bus", "car", "train"):
            for i in range(3):
                save(tmp_path / kind / f"{i}.png", images(1, 4, 4)[0])
        assert load(f"folder:{tmp_path}").info.classes == ("bus", "car", "train")

    @pytest.mark.parametrize(("names", "match"), [(("train", "val", "valid"), "both"), (("train", "test", "extra"), "extra")])
    def test_ambiguous_splits(self, names, match, tmp_path):
        for name in names:
            save(tmp_path / name / "1.png", images(1, 4, 4)[0])
        with pytest.raises(DataError, match=match):
            load(f"folder:{tmp_path}")

    def test_a_split_without_images(self, tmp_path):
        save(tmp_path / "train" / "1.png", images(1, 4, 4)[0])
        (tmp_path / "test").mkdir()
        with pytest.raises(DataError, match=r"no images in .*test"):
            load(f"folder:{tmp_path}")

    def test_hidden_files_are_ignored_and_links_followed(self, tmp_path):
        folder = tmp_path / "set"
        for i in range(5):
            save(folder / "a" / f"{i}.png", images(1, 4, 4)[0])
            save(tmp_path / "elsewhere" / f"{i}.png", images(1, 4, 4)[0])
        (folder / "b").symlink_to(tmp_path / "elsewhere")
        (folder / "a" / "again").symlink_to(folder / "a")
        write(folder / "a" / "._1.png", b"what macOS leaves")
        write(folder / ".ipynb_checkpoints" / "1.png", b"what notebooks leave")
        write(folder / "a" / "notes.txt", b"no image")
        data = load(f"folder:{folder}")
        assert sum(len(getattr(data, split)) for split in SPLITS) == 10
        assert data.info.classes == ("a", "b")

    def test_mixed_sizes_need_one_size(self, tmp_path):
        for i in range(6):
            save(tmp_path / f"{i}.png", images(1, 8 + i % 2, 9)[0])
        with pytest.raises(DataError, match=r"0\.png is 8x9 .* and .*1\.png is 9x9.*data\.resize"):
            load(f"folder:{tmp_path}")
        assert load(f"folder:{tmp_path}", DataOptions(resize=[4, 6])).shape == (1, 4, 6)
        assert load(f"folder:{tmp_path}", DataOptions(crop=8)).shape == (1, 8, 8)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
    @pytest.mark.parametrize("keep", [0, 0.1, 0.6])
    def test_a_broken_image_is_named(self, suffix, keep, tmp_path):
        for i in range(8):
            save(tmp_path / f"{i}.{suffix}", images(1, 32, 32)[0])
        broken = tmp_path / f"5.{suffix}"
        content = broken.read_bytes()
        write(broken, content[: int(keep * len(content))])
        with pytest.raises(DataError) as raised:
            load(f"folder:{tmp_path}")
        assert str(broken) in str(raised.value)

    def test_no_bytes_make_anything_but_an_image_or_an_error(self, tmp_path):
        """Damage anywhere in a file of any format."""
        for suffix in ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm"):
            whole = save(tmp_path / f"whole.{suffix}", images(1, 16, 16, 3)[0]).read_bytes()
            for i in range(40):
                content = bytearray(whole)
                for at in RNG.integers(0, min(len(content), 200), 4):
                    content[at] = RNG.integers(256)
                path = write(tmp_path / f"{i}.{suffix}", bytes(content))
                try:
                    files = ImageFiles([path])
                    if np.prod(files.shape) < 2**24:
                        assert files.read(0).dtype == torch.uint8
                except DataError as error:
                    assert str(path) in str(error)  # noqa: PT017 (most of the damaged files are readable)

    @pytest.mark.parametrize("make", [lambda p: p, lambda p: write(p, b""), lambda p: p.mkdir() or p])
    def test_no_folder_a_file_an_empty_folder(self, make, tmp_path):
        path = make(tmp_path / "it")
        with pytest.raises(DataError, match=str(path)):
            load(f"folder:{path}")

    def test_a_path_needs_its_kind(self, tmp_path):
        with pytest.raises(ConfigError, match="folder:PATH"):
            load("folder")
        with pytest.raises(ConfigError, match="folder:PATH"):
            load(str(tmp_path))
        with pytest.raises(UnknownPart, match="did you mean 'mnist'"):
            load("mnits")


def read_one(path, shape=None):
    return ImageFiles([path], shape).read(0)


class TestImageFiles:
    def test_grey_and_colour(self, tmp_path):
        grey, colour = images(1, 5, 4)[0], images(1, 5, 4, 3)[0]
        paths = [save(tmp_path / "grey.png", grey), save(tmp_path / "colour.png", colour)]
        both = ImageFiles(paths)
        assert both.shape == (3, 5, 4)
        assert torch.equal(both.read(0), torch.from_numpy(np.stack([grey] * 3)))
        assert torch.equal(both.read(1), torch.from_numpy(colour.transpose(2, 0, 1)))
        assert torch.equal(read_one(paths[0]), torch.from_numpy(grey[None]))

    def test_black_and_white(self, tmp_path):
        bits = RNG.integers(0, 2, (5, 9)).astype(bool)
        assert torch.equal(read_one(save(tmp_path / "1.png", bits)), torch.from_numpy(bits[None].astype(np.uint8) * 255))

    def test_palettes(self, tmp_path):
        colour = Image.fromarray(images(1, 8, 8, 3)[0]).quantize(16)
        colour.save(tmp_path / "1.png")
        assert torch.equal(read_one(tmp_path / "1.png"), torch.from_numpy(np.array(colour.convert("RGB")).transpose(2, 0, 1)))

    @pytest.mark.parametrize("depth", ["LA", "RGBA", "P"])
    def test_what_is_transparent_is_white(self, depth, tmp_path):
        rgba = np.zeros((4, 6, 4), np.uint8)
        rgba[:2] = (80, 80, 80, 255)
        image = Image.fromarray(rgba)
        options = {}
        if depth == "P":
            image, options = Image.fromarray(rgba[..., 3] // 255).convert("P"), {"transparency": bytes([0, 255])}
            image.putpalette([0, 0, 0, 80, 80, 80])
        image.convert(depth).save(tmp_path / "1.png", **options)
        x = read_one(tmp_path / "1.png")
        assert len(x) == (1 if depth == "LA" else 3)
        assert x[:, :2].unique().tolist() == [80]
        assert x[:, 2:].unique().tolist() == [255]

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
    def test_sixteen_bits(self, suffix, tmp_path):
        grey = images(1, 6, 5)[0]
        path = save(tmp_path / f"1.{suffix}", grey.astype(np.uint16) * 257)
        assert torch.equal(read_one(path), torch.from_numpy(grey[None]))
        assert torch.equal(read_one(path, (3, 6, 5)), torch.from_numpy(np.stack([grey] * 3)))

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_numbers_of_unknown_range_are_refused(self, dtype, tmp_path):
        path = save(tmp_path / "1.tif", np.arange(12).reshape(3, 4).astype(dtype))
        with pytest.raises(DataError, match=r"1\.tif holds numbers of 32 bits"):
            read_one(path)

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, orientation, bits, tmp_path):
        stored = images(1, 4, 6)[0]
        upright = {
            1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
            6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored),
        }[orientation]  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(tmp_path / "1.png", stored if bits == 8 else stored.astype(np.uint16) * 257, exif=exif)
        assert ImageFiles([path]).shape == (1, *upright.shape)
        assert torch.equal(read_one(path)[0], torch.from_numpy(upright.copy()))

    def test_no_files(self):
        with pytest.raises(DataError, match="no image files"):
            ImageFiles([])


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def canary(tmp_path):
    yield Canary(tmp_path / "sung")
    assert not (tmp_path / "sung").exists()


class TestNumPyFiles:
    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            (images(20, 7, 5), lambda x: x[:, None]),
            (images(20, 1, 7, 5), lambda x: x),
            (images(20, 3, 7, 5), lambda x: x),
            (images(20, 7, 5, 1), lambda x: x.transpose(0, 3, 1, 2)),
            (images(20, 7, 5, 3), lambda x: x.transpose(0, 3, 1, 2)),
            (images(20, 7, 5, 4), lambda x: x.transpose(0, 3, 1, 2)),
            (images(20, 9), lambda x: x),
            (RNG.normal(size=(20, 9)), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 9)).astype(">f4"), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 9)).astype(np.float16), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 9)).astype(np.longdouble), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 7, 5)), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 7, 5, 3)), lambda x: x.astype(np.float32).transpose(0, 3, 1, 2)),
            (RNG.normal(size=(20, 64, 1, 1)), lambda x: x.astype(np.float32)),
            (RNG.normal(size=(20, 9)) > 0, lambda x: x.astype(np.uint8) * 255),
            ((RNG.normal(size=(20, 7, 5)) > 0).astype(np.uint8), lambda x: x[:, None] * 255),
            (np.asfortranarray(images(20, 7, 5)), lambda x: x[:, None]),
        ],
        ids=lambda v: f"{v.dtype.str}{v.shape}" if isinstance(v, np.ndarray) else "",
    )
    @pytest.mark.parametrize("kind", ["npy", "npz"])
    def test_round_trip(self, given, stored, kind, tmp_path):
        path = tmp_path / f"x.{kind}"
        np.save(path, given) if kind == "npy" else np.savez_compressed(path, x=given)
        x = every(load(f"{kind}:{path}"))
        assert x.is_contiguous()
        np.testing.assert_array_equal(x.numpy(), stored(given))

    @pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("train_images", "train_labels"), ("x_train", "y_train")])
    def test_labels_beside_an_npy(self, names, tmp_path):
        y = np.arange(20) % 4
        np.save(tmp_path / f"{names[0]}.npy", images(20, 4, 4))
        assert load(f"npy:{tmp_path / names[0]}.npy").train.y is None
        np.save(tmp_path / f"{names[1]}.npy", y)
        data = load(f"npy:{tmp_path / names[0]}.npy")
        assert torch.equal(data.train.y, torch.from_numpy(y)[data.train.numbers])
        assert data.info.classes == ("0", "1", "2", "3")

    def test_a_name_that_ends_in_x_is_no_x(self, tmp_path):
        np.save(tmp_path / "box.npy", images(20, 4, 4))
        np.save(tmp_path / "boy.npy", images(7, 4, 4))
        assert load(f"npy:{tmp_path}/box.npy").train.y is None

    @pytest.mark.parametrize(
        "names",
        [
            ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
            ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ],
    )
    @pytest.mark.parametrize("column", [False, True])
    def test_splits_in_an_npz(self, names, column, tmp_path):
        arrays = {}
        for n, (x, y) in enumerate(zip(names[::2], names[1::2], strict=True), start=3):
            arrays[x], arrays[y] = images(n, 8, 8, 3), np.arange(n).reshape((n, 1) if column else (n,))
        np.savez(tmp_path / "set.npz", **arrays)
        data = load(f"npz:{tmp_path}/set.npz")
        for split, x, y in zip(SPLITS, names[::2], names[1::2], strict=True):
            assert torch.equal(getattr(data, split).x, torch.from_numpy(arrays[x]).permute(0, 3, 1, 2))
            assert getattr(data, split).y.tolist() == arrays[y].reshape(-1).tolist()

    def test_keras_like_without_validation(self, tmp_path):
        x, y = images(20, 8, 8), np.arange(20) % 10
        np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])
        data = load(f"npz:{tmp_path}/mnist.npz")
        assert [len(getattr(data, split)) for split in SPLITS] == [18, 2, 5]

    @pytest.mark.parametrize(
        ("names", "match"),
        [(["a", "b"], "a, b: name"), ([], "nothing"), (["x_test"], "x_test: name"), (["x", "x_train"], "both")],
    )
    def test_names_that_say_too_little(self, names, match, tmp_path):
        np.savez(tmp_path / "set.npz", **{name: images(5, 4) for name in names})
        with pytest.raises(DataError, match=match):
            load(f"npz:{tmp_path}/set.npz")

    def test_pickled_objects_stay_pickled(self, canary, tmp_path):
        objects = np.array([canary] * 4, dtype=object)
        np.save(tmp_path / "a.npy", objects, allow_pickle=True)
        np.savez(tmp_path / "b.npz", x=objects)
        np.savez(tmp_path / "c.npz", x=images(4, 4), y=objects)
        write(tmp_path / "d.npy", pickle.dumps(canary))
        write(tmp_path / "e.npz", pickle.dumps(canary))
        for file in sorted(tmp_path.glob("*.np?")):
            with pytest.raises(DataError, match=file.name):
                load(f"{file.suffix[1:]}:{file}")

    @pytest.mark.parametrize("kind", ["npy", "npz"])
    @pytest.mark.parametrize("keep", [0, 0.05, 0.5, 0.95])
    def test_truncated(self, kind, keep, tmp_path):
        path = tmp_path / f"x.{kind}"
        np.save(path, images(50, 9)) if kind == "npy" else np.savez_compressed(path, x=images(50, 9))
        whole = path.read_bytes()
        write(path, whole[: int(keep * len(whole))])
        with pytest.raises(DataError, match=f"x.{kind}"):
            load(f"{kind}:{path}")

    def test_damage_inside_an_archive(self, tmp_path):
        np.savez_compressed(tmp_path / "x.npz", x=images(50, 9))
        content = bytearray((tmp_path / "x.npz").read_bytes())
        content[150:160] = bytes(10)
        write(tmp_path / "x.npz", bytes(content))
        with pytest.raises(DataError, match=r"x in .*x\.npz"):
            load(f"npz:{tmp_path}/x.npz")

    def test_a_header_that_claims_too_much(self, tmp_path):
        np.save(tmp_path / "x.npy", images(10, 20))
        content = (tmp_path / "x.npy").read_bytes()
        assert b"(10, 20), }            " in content
        write(tmp_path / "x.npy", content.replace(b"(10, 20), }            ", b"(10, 20000000000000), }"))
        with pytest.raises(DataError, match=r"x\.npy"):
            load(f"npy:{tmp_path}/x.npy")

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(40).reshape(10, 4),
            images(10, 4).astype(np.uint16),
            images(10, 4).astype(np.int8),
            np.array([["a", "b"]] * 10),
            images(10, 4).astype(np.complex64),
            np.zeros((10, 4), dtype="datetime64[s]"),
            np.zeros(10, dtype=[("a", "f4"), ("b", "f4")]),
            images(10),
            images(2, 2, 2, 2, 2),
            np.zeros((10, 0), np.float32),
            np.float32(3),
        ],
        ids=lambda a: f"{a.dtype.str}{a.shape}",
    )
    def test_other_types_and_shapes_are_refused(self, array, tmp_path):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(DataError, match=r"x\.npy"):
            load(f"npy:{tmp_path}/x.npy")

    @pytest.mark.parametrize(("kind", "other"), [("npy", "npz"), ("npz", "npy")])
    def test_one_kind_for_the_other(self, kind, other, tmp_path):
        np.save(tmp_path / "x.npy", images(5, 4))
        np.savez(tmp_path / "x.npz", x=images(5, 4))
        with pytest.raises(DataError, match=f"{other}:"):
            load(f"{kind}:{tmp_path}/x.{other}")

    @pytest.mark.parametrize("kind", ["npy", "npz", "idx"])
    def test_no_such_file(self, kind, tmp_path):
        with pytest.raises(DataError, match=f"no file .*x.{kind}"):
            load(f"{kind}:{tmp_path}/x.{kind}")


class TestIdx:
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    @pytest.mark.parametrize("dot", ["-", "."])
    def test_a_folder(self, suffix, dot, tmp_path):
        made = write_mnist(tmp_path, "it", suffix=suffix)
        for file in (tmp_path / "it" / "raw").iterdir():
            file.rename(file.with_name(file.name.replace("s-idx", f"s{dot}idx")))
        data = load(f"idx:{tmp_path}/it/raw")
        assert torch.equal(data.test.x[:, 0], torch.from_numpy(made["t10k"][0]))
        assert data.test.y.tolist() == made["t10k"][1].tolist()
        assert len(data.train) + len(data.validation) == 40

    def test_a_test_set_alone_is_what_there_is_to_train_on(self, tmp_path):
        write_mnist(tmp_path, "it", test=20)
        for file in (tmp_path / "it" / "raw").glob("train*"):
            file.unlink()
        data = load(f"idx:{tmp_path}/it/raw")
        assert [len(getattr(data, split)) for split in SPLITS] == [17, 1, 2]

    def test_one_file_with_its_labels_packed(self, tmp_path):
        x = images(12, 4, 4)
        file = write(tmp_path / "some-images-idx3-ubyte", idx(x))
        write(tmp_path / "some-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(12, dtype=np.uint8))))
        data = load(f"idx:{file}")
        assert torch.equal(every(data)[:, 0], torch.from_numpy(x))
        assert torch.equal(data.train.y, data.train.numbers)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_floats(self, dtype, tmp_path):
        x = RNG.normal(size=(12, 4, 4)).astype(dtype)
        file = write(tmp_path / "x.idx", idx(x))
        np.testing.assert_array_equal(every(load(f"idx:{file}")).numpy(), x.astype(np.float32))

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "not an IDX"),
            (b"\x89PNG and so on", "not an IDX"),
            (b"\0\0\x07\x01\0\0\0\0", "not an IDX"),
            (idx(images(12, 4, 4))[:-1], "truncated"),
            (idx(images(12, 4, 4))[:10], "not an IDX"),
            (idx(images(12, 4, 4)) + b"more", "too long"),
            (gzip.compress(idx(images(12, 4, 4)))[:-20], "cannot be read"),
            (gzip.compress(idx(images(12, 4, 4)))[:20] + bytes(90), "cannot be read"),
            (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
            (idx(images(12, 4).astype(np.int16)), "int16"),
            (idx(images(12)), "shape"),
            (idx(images(0, 4, 4)), "empty"),
        ],
    )
    def test_bad_files(self, content, match, tmp_path):
        with pytest.raises(DataError, match=match):
            load(f"idx:{write(tmp_path / 'x.gz', content)}")

    def test_a_folder_without_or_with_several(self, tmp_path):
        with pytest.raises(DataError, match="no train-images"):
            load(f"idx:{tmp_path}")
        for name in ("letters", "digits"):
            write(tmp_path / f"emnist-{name}-train-images-idx3-ubyte", idx(images(5, 4, 4)))
        with pytest.raises(DataError, match="takes one of them"):
            load(f"idx:{tmp_path}")

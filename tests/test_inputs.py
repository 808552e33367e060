"""What a trained model sees: its data, and images in files, those of strangers among them."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit
from vaekit import ConfigError, DataError, ImageFiles, inputs
from vaekit.data.offline import offline
from vaekit.inputs import picture

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
COLOUR = Image.fromarray(PIXELS)
GREY = Image.fromarray(PIXELS[..., 0])
PALETTE = COLOUR.quantize(16)
DEEP = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    there = io.BytesIO()
    image.save(there, kind, **options)
    return there.getvalue()


def _array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vaekit.Run:
    """On the digits, binarised anew each time, cut and made smaller."""
    small = {"encoder": {"hidden": [8]}, "latent": {"features": 2}, "decoder": {"hidden": [8]}}
    where = tmp_path_factory.mktemp("runs")
    options = {"binarize": "dynamic", "crop": 6, "resize": 4}
    return vaekit.fit("digits", **small, data_options=options, epochs=1, output=where, progress=False)


class TestData:
    def test_they_are_prepared_as_they_were(self, run: vaekit.Run) -> None:
        data = inputs.data_of(str(run.path), run.model)
        assert data.shape == run.model.data_shape == (1, 4, 4)
        assert data.info == run.model.config.data
        test, classes = inputs.examples_of(str(run.path), run.model)
        assert torch.equal(test.x, data.test.x)
        assert torch.equal(test.y, data.test.y)
        assert classes == data.info.classes
        assert set(test.x.unique().tolist()) == {0, 255}

    def test_of_a_folder_its_config_says_what_they_are(self, run: vaekit.Run) -> None:
        test, _ = inputs.examples_of(str(run.path / "model"), run.model)
        assert torch.equal(test.x, inputs.data_of(str(run.path), run.model).test.x)

    def test_other_data_are_prepared_so_too(self, run: vaekit.Run, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", RNG.integers(0, 256, (30, 9, 9), dtype=np.uint8))
        assert inputs.data_of(str(run.path), run.model, f"npy:{tmp_path / 'x.npy'}").shape == (1, 4, 4)

    def test_a_model_that_does_not_say(self, make: Callable[..., vaekit.VAE], tmp_path: Path) -> None:
        model = make()
        model.save(tmp_path / "model")
        for find in (inputs.data_of, inputs.examples_of):
            with pytest.raises(ConfigError, match="does not say where its data are: name a data set"):
                find(str(tmp_path / "model"), model)

    def test_splits_that_are_not_asked_for_are_not_decoded(self, run: vaekit.Run, tmp_path: Path) -> None:
        for split in ("train", "test"):
            (tmp_path / split).mkdir()
            for number in range(3):
                COLOUR.save(tmp_path / split / f"{number}.jpg")
        path = tmp_path / "train" / "1.jpg"
        path.write_bytes(path.read_bytes()[:-200])
        source = f"folder:{tmp_path}"
        with pytest.raises(DataError, match=r"1\.jpg is not a readable image"):
            inputs.data_of(str(run.path), run.model, source)
        assert len(inputs.examples_of(str(run.path), run.model, source)[0]) == 3

    def test_nothing_is_downloaded_where_that_is_not_allowed(
        self, run: vaekit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torchvision

        tried = []

        def download(self: Any) -> None:
            tried.append(self)
            raise OSError("no network")

        monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
        for find in (inputs.data_of, inputs.examples_of):
            with pytest.raises(DataError) as raised:
                find(str(run.path), run.model, "mnist", tmp_path / "nowhere", download=False)
            said = str(raised.value)
            assert said.startswith(f"MNIST is not under {tmp_path / 'nowhere'} (Dataset not found.), and nothing is downloaded")
            assert "--data-root or VAEKIT_DATA" in said
        assert not tried
        assert not (tmp_path / "nowhere").exists()
        with pytest.raises(DataError, match="could not be downloaded"):
            inputs.data_of(str(run.path), run.model, "mnist", tmp_path / "nowhere")
        assert tried

    def test_the_block_without_downloads_ends(self) -> None:
        assert vaekit.may_download()
        with offline():
            assert not vaekit.may_download()
            with offline():
                pass
            assert not vaekit.may_download()
        with pytest.raises(RuntimeError), offline():
            raise RuntimeError
        assert vaekit.may_download()


class TestImage:
    def test_a_file_and_an_open_image_are_seen_alike(self, run: vaekit.Run, tmp_path: Path) -> None:
        COLOUR.save(tmp_path / "1.png")
        x = inputs.image(tmp_path / "1.png", run.model)
        assert x.shape == (1, 1, 4, 4)
        assert x.dtype == torch.float32
        assert set(x.unique().tolist()) <= {0.0, 1.0}
        with Image.open(tmp_path / "1.png") as opened:
            assert torch.equal(inputs.image(opened, run.model), x)
        assert torch.equal(inputs.image(picture((tmp_path / "1.png").read_bytes())[0], run.model), x)
        grey = np.asarray(COLOUR.convert("L"))[7:13, 12:18]
        assert torch.equal(inputs.image(Image.fromarray(np.pad(grey, 3)), run.model), x)

    def test_it_is_as_the_examples_were(self, run: vaekit.Run, make: Callable[..., vaekit.VAE]) -> None:
        model = make((3, 20, 30), likelihood="gaussian")
        assert torch.equal(inputs.image(COLOUR, model)[0], torch.from_numpy(PIXELS).permute(2, 0, 1) / 255)
        assert inputs.image(GREY, model).shape == (1, 3, 20, 30)

    def test_what_is_wrong_is_said(self, run: vaekit.Run, make: Callable[..., vaekit.VAE], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"data\.crop=6 is more than an image has"):
            inputs.image(COLOUR.resize((5, 9)), run.model)
        with pytest.raises(ConfigError, match=r"data are of shape \(7,\), not images"):
            inputs.image(COLOUR, make((7,)))
        (tmp_path / "1.png").write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"1\.png is not a readable image"):
            inputs.image(tmp_path / "1.png", run.model)


def _lossless() -> dict[str, tuple[bytes, Image.Image]]:
    return {
        "png": (_file(COLOUR, "PNG"), COLOUR),
        "webp": (_file(COLOUR, "WEBP", lossless=True), COLOUR),
        "bmp": (_file(COLOUR, "BMP"), COLOUR),
        "tiff": (_file(COLOUR, "TIFF"), COLOUR),
        "gif": (_file(PALETTE, "GIF"), PALETTE.convert("RGB")),
        "grey": (_file(GREY, "PNG"), GREY),
        "1-bit": (_file(COLOUR.convert("1"), "PNG"), COLOUR.convert("1").convert("L")),
        "palette": (_file(PALETTE, "PNG"), PALETTE.convert("RGB")),
        "opaque": (_file(COLOUR.convert("RGBA"), "PNG"), COLOUR),
    }


def _noted() -> dict[str, tuple[bytes, str]]:
    turned = [COLOUR.rotate(90 * i) for i in (1, 2, 3)]
    animation = {"save_all": True, "append_images": turned}
    deep = PIXELS[..., ::-1].astype(">u2").tobytes()
    header = b"IHDR" + (30).to_bytes(4, "big") + (20).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + deep[i : i + 180] for i in range(0, len(deep), 180))
    return {
        "gif": (_file(PALETTE, "GIF", save_all=True, append_images=[t.quantize(16) for t in turned]), "the first of 4 frames"),
        "webp": (_file(COLOUR, "WEBP", lossless=True, **animation), "the first of 4 frames"),
        "apng": (_file(COLOUR, "PNG", **animation), "the first of 4 frames"),
        "pages": (_file(COLOUR, "TIFF", **animation), "the first of several pages"),
        "rgba": (_file(_half(COLOUR), "PNG"), "what is transparent was laid on white"),
        "la": (_file(_half(COLOUR).convert("LA"), "PNG"), "what is transparent was laid on white"),
        "palette": (_file(PALETTE, "PNG", transparency=int(_array(PALETTE)[0, 0])), "what is transparent was laid on white"),
        "webp-alpha": (_file(_half(COLOUR), "WEBP"), "what is transparent was laid on white"),
        "grey-16": (_file(DEEP, "PNG"), "16 bits were brought to 8"),
        "tiff-16": (_file(DEEP, "TIFF"), "16 bits were brought to 8"),
        "rgb-16": (_png(header, rows), "16 bits were brought to 8"),
    }


def _half(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(100)
    return image


def _png(header: bytes, rows: bytes) -> bytes:
    chunks = (header, b"IDAT" + zlib.compress(rows), b"IEND")
    framed = [(len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def _sized(width: int, height: int) -> bytes:
    """A PNG whose header says so and which holds next to nothing."""
    return _png(b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0]), b"\0" * 100)


CUT = "it may be damaged or cut short; save it anew, as PNG"
KIND = "the file is no image of a kind that is read here: give one of PNG, JPEG, WEBP, GIF, BMP, TIFF"
MOST = "8,192 on a side and 16,777,216 in all are the most: make it smaller"
REFUSED = {
    "nothing": (b"", "the file is empty: choose another"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", KIND),
    "html": (b"<!doctype html><html><body>no image</body></html>", KIND),
    "text": (b"x" * 1000, KIND),
    "pdf": (b"%PDF-1.7\n", KIND),
    "ppm": (_file(COLOUR, "PPM"), KIND),
    "icon": (_file(COLOUR, "ICO"), KIND),
    "signature": (_file(COLOUR, "PNG")[:8], CUT),
    "header": (_file(COLOUR, "PNG")[:33], CUT),
    "png": (_file(COLOUR, "PNG")[:-200], CUT),
    "jpeg": (_file(COLOUR, "JPEG")[:-200], CUT),
    "webp": (_file(COLOUR, "WEBP")[:-200], CUT),
    "gif": (_file(PALETTE, "GIF")[:-200], CUT),
    "bmp": (_file(COLOUR, "BMP")[:-200], CUT),
    "tiff": (_file(COLOUR, "TIFF")[:100], CUT),
    "changed": (_file(COLOUR, "PNG").replace(b"IDAT", b"IDAT\xff", 1), CUT),
    "float": (_file(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF"), "holds numbers of 32 bits"),
    "long": (_file(Image.fromarray(PIXELS[..., 0].astype(np.int32)), "TIFF"), "holds numbers of 32 bits"),
    "wide": (_sized(20_000, 10), f"the image has 20,000 x 10 pixels, and {MOST}"),
    "high": (_sized(1, 8193), f"the image has 1 x 8,193 pixels, and {MOST}"),
    "large": (_sized(4097, 4096), f"the image has 4,097 x 4,096 pixels, and {MOST}"),
    "bomb": (_sized(12_000, 12_000), MOST),
    "larger-bomb": (_sized(100_000, 100_000), MOST),
}


class TestPictures:
    @pytest.mark.parametrize("name", _lossless())
    def test_what_is_read(self, name: str) -> None:
        data, wanted = _lossless()[name]
        image, notes = picture(data)
        assert (image.mode, notes) == (wanted.mode, [])
        assert np.array_equal(_array(image), _array(wanted))

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    def test_jpeg(self, mode: str) -> None:
        smooth = COLOUR.resize((4, 4)).resize((40, 40), Image.Resampling.BICUBIC)
        image, notes = picture(_file(smooth.convert(mode), "JPEG", quality=98))
        assert (image.mode, notes) == ("L" if mode == "L" else "RGB", [])
        near = np.abs(_array(image).astype(int) - _array(smooth.convert(image.mode)))
        assert near.mean() < 4

    @pytest.mark.parametrize("name", _noted())
    def test_what_is_done_is_said(self, name: str) -> None:
        data, said = _noted()[name]
        image, notes = picture(data)
        assert notes == [said]
        assert image.size == COLOUR.size
        if "frames" in said or "pages" in said:
            wanted = PALETTE.convert("RGB") if name == "gif" else COLOUR
            assert np.abs(_array(image).astype(int) - _array(wanted)).mean() < 30
        elif "white" in said and name != "palette":
            assert _array(image).min() >= 150

    def test_they_are_turned_upright(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        image, _ = picture(_file(COLOUR, "PNG", exif=exif))
        assert np.array_equal(_array(image), np.rot90(PIXELS, -1))

    @pytest.mark.parametrize("name", REFUSED)
    def test_what_is_refused(self, name: str) -> None:
        data, said = REFUSED[name]
        with pytest.raises(DataError) as raised:
            picture(data)
        assert said in str(raised.value)
        assert "\n" not in str(raised.value)
        assert str(raised.value).isprintable()

    def test_the_bounds_can_be_others(self) -> None:
        data = _file(COLOUR, "PNG")
        with pytest.raises(DataError, match=r"the file has [\d,]+ bytes and 100 are the most: save it smaller"):
            picture(data, most_bytes=100)
        with pytest.raises(DataError, match="30 x 20 pixels, and 29 on a side"):
            picture(data, most_side=29)
        with pytest.raises(DataError, match="599 in all are the most"):
            picture(data, most_pixels=599)
        assert picture(data, most_bytes=len(data), most_side=30, most_pixels=600)

    def test_pages_are_not_counted(self) -> None:
        """Pillow takes seconds to count as many as fit into the most bytes."""
        tags = [
            (256, 3, 1),
            (257, 3, 1),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8),
            (277, 3, 1),
            (278, 3, 1),
            (279, 4, 1),
        ]
        page = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        size = len(page) + 4
        places = range(16, 2**22 - size, size)
        pages = b"".join(page + struct.pack("<I", place + size if place != places[-1] else 0) for place in places)
        start = time.perf_counter()
        assert picture(b"II*\0" + struct.pack("<I", 16) + bytes(8) + pages)[1] == ["the first of several pages"]
        assert time.perf_counter() - start < 1

    def test_bytes_changed_at_random_are_an_image_or_one_error(self) -> None:
        read = 0
        for data in (_file(COLOUR, kind) for kind in inputs.FORMATS):
            for _ in range(60):
                changed = bytearray(data)
                for place in RNG.integers(0, len(data), 4):
                    changed[place] = RNG.integers(0, 256)
                with suppress(DataError):
                    picture(bytes(changed))
                    read += 1
        assert 0 < read < 360

    def test_settings_of_pillow_stay_as_they_are(self) -> None:
        from PIL import ImageFile

        before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
        for data, _ in REFUSED.values():
            with pytest.raises(DataError):
                picture(data)
        assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_a_picture_is_seen_as_its_file_is(tmp_path: Path) -> None:
    """The same pixels by way of a data set of files, and as an upload."""
    for name, (data, _) in _noted().items():
        (tmp_path / name).write_bytes(data)
        image = _array(picture(data)[0])
        x = ImageFiles([tmp_path / name]).read(0).permute(1, 2, 0).numpy()
        assert np.array_equal(x[..., 0] if image.ndim == 2 else x, image)

"""Pictures as a model sees them, against what Pillow and a pencil make of them."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from vaekit_runtime import DataError, InputError, Predictor

RANDOM = np.random.default_rng(2)
ORIENTATION = 0x0112


@pytest.fixture
def seen(make) -> Callable[..., Predictor]:
    """A model that sees data of this shape, cropped and binarised so."""

    def made(shape: tuple[int, ...] = (1, 4, 4), crop: int | None = None, binarize: str = "none") -> Predictor:
        def change(document):
            document["data"]["binarize"] = binarize
            document["config"]["data"]["crop"] = crop

        return Predictor(make(data_shape=shape, change=change).folder / "encode.onnx")

    return made


def _pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def test_pixels_of_the_right_size_are_taken_as_they_are(seen, tmp_path) -> None:
    grey, colour = _pixels(4, 6), _pixels(4, 6, 3)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    x = seen((1, 4, 6)).image(tmp_path / "grey.png")
    assert (x.shape, x.dtype) == ((1, 1, 4, 6), np.float32)
    np.testing.assert_array_equal(x[0, 0], grey.astype(np.float32) / 255)
    np.testing.assert_array_equal(seen((3, 4, 6)).image(Image.fromarray(grey))[0, 2], x[0, 0])
    x = seen((3, 4, 6)).image(Image.fromarray(colour))
    np.testing.assert_array_equal(x[0], colour.transpose(2, 0, 1).astype(np.float32) / 255)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    np.testing.assert_array_equal(seen((1, 4, 6)).image(Image.fromarray(colour))[0, 0] * 255, luma)


def test_a_path_its_bytes_and_what_pillow_opened_are_the_same(seen, tmp_path) -> None:
    path, predictor = tmp_path / "a.png", seen()
    Image.fromarray(_pixels(9, 7, 3)).save(path)
    x = predictor.image(path)
    np.testing.assert_array_equal(predictor.image(path.read_bytes()), x)
    np.testing.assert_array_equal(predictor.image(str(path)), x)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(predictor.image(opened), x)
    assert predictor.encode(x).shape == (1, 3)


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (3, 3), (101, 101), (57, 130), (2, 9)])
def test_others_are_scaled_to_cover_and_cut_from_the_middle(seen, size) -> None:
    smooth = Image.fromarray(_pixels(2 + size[0] // 9, 2 + size[1] // 9)).resize(size[::-1], Image.Resampling.BICUBIC)
    side = 5
    scale = max(side / size[0], side / size[1])
    height, width = (max(side, round(scale * length)) for length in size)
    scaled = np.asarray(smooth.resize((width, height), Image.Resampling.BILINEAR))  # which looks at all pixels too
    top, left = (height - side) // 2, (width - side) // 2
    wanted = scaled[top : top + side, left : left + side] / 255
    found = seen((1, side, side)).image(smooth)[0, 0]
    np.testing.assert_allclose(found, wanted, atol=1.01 / 255)  # Pillow counts in whole numbers between the two directions


def test_the_crop_of_the_data_comes_first(seen) -> None:
    pixels = _pixels(10, 12)
    x = seen((1, 4, 4), crop=4).image(Image.fromarray(pixels))
    np.testing.assert_array_equal(np.round(x[0, 0] * 255), pixels[3:7, 4:8])
    with pytest.raises(InputError, match="cropped to 11, more than the picture has"):
        seen((1, 4, 4), crop=11).image(Image.fromarray(pixels))


@pytest.mark.parametrize("binarize", ["threshold", "fixed", "dynamic"])
def test_where_the_data_were_binary_so_is_the_picture(seen, binarize) -> None:
    pixels = np.array([[0, 127], [128, 255]], np.uint8)
    x = seen((1, 2, 2), binarize=binarize).image(Image.fromarray(pixels))
    np.testing.assert_array_equal(x[0, 0], [[0, 0], [1, 1]])


def test_a_picture_is_turned_as_its_exif_data_say(seen, tmp_path) -> None:
    pixels, exif = _pixels(4, 6), Image.Exif()
    exif[ORIENTATION] = 6  # to be turned a quarter to the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    x = seen((1, 6, 4)).image(tmp_path / "turned.png")
    np.testing.assert_array_equal(np.round(x[0, 0] * 255), np.rot90(pixels, -1))


def test_what_is_transparent_is_laid_on_white(seen) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    x = seen().image(Image.fromarray(pixels))
    np.testing.assert_array_equal(x[0, 0], [[0] * 4, [0] * 4, [1] * 4, [1] * 4])
    assert seen((4, 4, 4)).image(Image.fromarray(pixels))[0, 3].tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]


@pytest.mark.parametrize("kind", ["png", "ppm"])
def test_sixteen_bits_become_eight(seen, tmp_path, kind) -> None:
    pixels = RANDOM.integers(0, 2**16, (4, 4), dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"deep.{kind}")
    np.testing.assert_array_equal(np.round(seen().image(tmp_path / f"deep.{kind}")[0, 0] * 255), pixels >> 8)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_every_mode_is_read(seen, mode) -> None:
    given = Image.fromarray(_pixels(4, 4, 3)).convert("LA" if mode == "LA" else "RGB").convert(mode)
    wanted = np.asarray(given.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.round(seen((3, 4, 4)).image(given)[0] * 255), wanted)


def _png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", "is empty"),
        (b"no picture", "the picture is no picture of a kind that is read here, or is damaged: give one of PNG, JPEG"),
        (_png(1000)[:60], "not a readable picture"),
        (_png(9000), "9,000 x 9,000 pixels, more than the 67,108,864 allowed"),
        (Image.new("F", (4, 4)), "32 bits"),
        (Image.new("I", (4, 4)), "32 bits"),
        ("nowhere.png", "nowhere.png cannot be read: No such file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "of a kind that is read here"),
    ],
)
def test_what_is_no_picture_is_refused(seen, given, words) -> None:
    with pytest.raises(DataError, match=words) as refused:
        seen().image(given)
    assert " at 0x" not in str(refused.value)


def test_the_size_is_looked_at_before_anything_is_decoded(seen) -> None:
    cut = _png(1000)[:60]  # has a header and hardly anything else
    with pytest.raises(DataError, match="1,000 x 1,000 pixels, more than the 9,999 allowed"):
        seen().image(cut, most_pixels=9_999)
    with pytest.raises(DataError, match="not a readable picture"):
        seen().image(cut)


def test_a_strip_that_would_be_scaled_to_an_enormous_one_is_refused(seen) -> None:
    with pytest.raises(DataError, match="too narrow to cover"):
        seen((1, 4096, 4)).image(Image.new("L", (60_000, 2)))


def test_a_model_of_something_else_sees_no_pictures(seen) -> None:
    with pytest.raises(InputError, match=r"data are of shape \(4, 2\), not pictures"):
        seen((4, 2)).image(_png(4))

"""What a trained model sees: the data that it was trained on, prepared as they were then, and images as it takes them."""

import io
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vaekit.blocks import afforded
from vaekit.data.catalog import Examples
from vaekit.data.image_files import ImageFiles, pixels
from vaekit.data.offline import offline
from vaekit.data.prepare import Data, load, one
from vaekit.data.transform import DataOptions, transform
from vaekit.errors import ConfigError, DataError, short
from vaekit.io import run_of
from vaekit.known import UNNAMED
from vaekit.model import VAE
from vaekit.runs import Run

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What `picture` reads."""


def data_of(given: str, model: VAE, name: str | None = None, root: str | Path | None = None, *, download: bool = True) -> Data:
    """The data that a model was trained on, prepared as they were then; or others, prepared so.

    Args:
        given: what the model was loaded from: a run, a folder, a repo.
        model: itself.
        name: of another data set.
        root: where named data sets are; where the run found them unless given.
        download: whether those that are missing may be downloaded.

    Raises:
        ConfigError: where the model does not say what its data are, or they cannot be brought to what it takes.
        DataError: where they are missing or cannot be read.
    """
    source, options, root = prepared(given, model, name, root)
    with afforded(model.data_shape), nullcontext() if download else offline():
        return load(source, options, root)


def examples_of(
    given: str, model: VAE, name: str | None = None, root: str | Path | None = None, *, download: bool = True
) -> tuple[Examples, tuple[str, ...]]:
    """The test set of `data_of`, and the names of the classes; the images of other splits are not decoded."""
    source, options, root = prepared(given, model, name, root)
    with afforded(model.data_shape), nullcontext() if download else offline():
        return one(source, options, "test", root)


def image(given: str | Path | Image.Image, model: VAE) -> Tensor:
    """An image as a model sees images, (1, C, H, W) in [0, 1]: cropped as its data were, scaled to cover its shape and cut.

    Where the data were binarised it is, at 1/2.

    Args:
        given: a file, or an image that Pillow has opened.
        model: that is to see it.

    Raises:
        ConfigError: for a model of something else than images, or an image smaller than the crop.
        DataError: where the file is no image.
    """
    shape = model.data_shape
    if len(shape) != 3:
        raise ConfigError(f"this model's data are of shape {shape}, not images")
    info = model.config.data if model.config else None
    options = DataOptions(
        crop=info.crop if info else None,
        resize=(shape[1], shape[2]),
        binarize="threshold" if info is not None and info.binarize != "none" else "none",
    )
    x = pixels(given, shape[0]) if isinstance(given, Image.Image) else ImageFiles([Path(given)], shape).read(0)
    seen = transform(Examples(x[None]), options, "test").x
    assert isinstance(seen, Tensor)
    return seen.to(torch.float32) / 255


def picture(
    data: bytes, *, most_bytes: int = 2**22, most_pixels: int = 2**24, most_side: int = 8192
) -> tuple[Image.Image, list[str]]:
    """The image in the bytes of a file that a stranger sent, grey or RGB of 8 bits and upright, and what there is to say of it.

    Its size is that of the header, looked at before anything is decoded. Of an animation it is the first frame.

    Args:
        data: the file, of one of FORMATS, whatever its name.
        most_bytes: of the file.
        most_pixels: of the image.
        most_side: its largest width and height in pixels.

    Raises:
        DataError: in one sentence that says what is wrong and what to do.
    """
    if not data:
        raise DataError("the file is empty: choose another")
    if len(data) > most_bytes:
        raise DataError(f"the file has {len(data):,} bytes and {most_bytes:,} are the most: save it smaller")
    bounds = f"{most_side:,} on a side and {most_pixels:,} in all are the most: make it smaller"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if max(width, height) > most_side or width * height > most_pixels:
                raise DataError(f"has {width:,} x {height:,} pixels, and {bounds}")
            notes = list(_notes(opened))
            x = pixels(opened)
    except DataError as error:
        raise DataError(f"the image {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"the image has too many pixels, and {bounds}") from None
    except Exception as error:  # the decoders raise whatever they stumble over
        if isinstance(error, UnidentifiedImageError) and not data.startswith(_BEGINNINGS):
            raise DataError(f"the file is no image of a kind that is read here: give one of {', '.join(FORMATS)}") from None
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({short(str(error) or type(error).__name__)})"
        raise DataError(f"the image cannot be read{why}: it may be damaged or cut short; save it anew, as PNG") from None
    return Image.fromarray(x[0].numpy() if len(x) == 1 else x.permute(1, 2, 0).numpy()), notes


_BEGINNINGS = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def _notes(image: Image.Image) -> Iterator[str]:
    """What `picture` does to an image, but for turning it upright."""
    if getattr(image, "is_animated", False):  # a TIFF's pages are counted one by one, which takes seconds where they are many
        yield "the first of several pages" if image.format == "TIFF" else f"the first of {getattr(image, 'n_frames', 2)} frames"
    sixteen = image.mode.startswith("I;16")
    if sixteen or ";16" in str(getattr(image, "tile", "")):  # which Pillow halves by itself where there are colours
        yield "16 bits were brought to 8"
    if not sixteen and image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        yield "what is transparent was laid on white"


def prepared(given: str, model: VAE, name: str | None, root: str | Path | None) -> tuple[str, DataOptions, str | Path | None]:
    """The name of the data of a model, what was done to them, and where they are.

    Raises:
        ConfigError: where the model does not say it.
    """
    run = run_of(given)
    record = Run(run).record if run else {}
    info = model.config.data if model.config else None
    source = name or record.get("source") or (info.name if info and info.name not in UNNAMED else None)
    if source is None:
        raise ConfigError(f"{given} does not say where its data are: name a data set")
    done = record.get("data") or (
        {"binarize": info.binarize, "seed": info.seed, "resize": info.resize, "crop": info.crop, "grey": info.grey}
        if info
        else {}
    )
    recorded = record.get("data_root")
    if root is None and recorded is not None and not Path(recorded).is_dir():  # nothing is downloaded to where a run says
        raise ConfigError(f"the run says that its data are under {recorded!r}, which is not there: give --data-root")
    options = DataOptions(**done)
    shape, size = model.data_shape, options.size or (options.crop and (options.crop, options.crop))
    if size and (len(shape) != 3 or tuple(shape[1:]) != size):
        raise ConfigError(f"{given} says that its images were brought to {size[0]}x{size[1]}, and takes data of shape {shape}")
    return source, options, root or recorded

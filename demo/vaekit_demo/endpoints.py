"""The named endpoints of the page: for `gradio_client`, plain HTTP and MCP."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.components.api_component import Api

from vaekit import ConfigError, DataError
from vaekit.errors import short
from vaekit_demo.asked import MOST_FRAMES, MOST_SAMPLES, Decode, Samples, whole
from vaekit_demo.calls import Gallery
from vaekit_demo.engine import answers, given
from vaekit_demo.engine.answers import Input
from vaekit_demo.engine.pictures import gif, tiled
from vaekit_demo.engine.shown import Shown
from vaekit_demo.work import Workers, spoken

Endpoint = Callable[..., Coroutine[Any, Any, Any]]


def endpoints(gallery: Gallery, workers: Workers) -> None:
    """Put them on the page that is being laid out, unseen."""
    first = next(iter(gallery)).key
    with gr.Column(visible=False):
        model = _plain(first, "model", type="string")
        label = _plain("", "label", type="string")
        image = gr.File(label="image", type="filepath")
        other = gr.File(label="other image", type="filepath")
        n = _plain(16, "n", type="integer", minimum=1, maximum=MOST_SAMPLES)
        seed = _plain(0, "seed", type="integer", minimum=0, maximum=2**32 - 1)
        temperature = _plain(1.0, "temperature", type="number", minimum=0, maximum=5)
        source = _plain("prior", "source", type="string", enum=["prior", "posterior"])
        steps = _plain(9, "steps", type="integer", minimum=2, maximum=MOST_FRAMES)
        z = _plain(None, "z", type="array", items={"type": "number"})
        picture = gr.Image(label="picture", type="pil", format="png")
        numbers = gr.JSON(label="numbers")
        animation = gr.File(label="animation")

        async def sample(n: float, seed: float, temperature: float, label: str, source: str, model: str) -> Any:
            """Draw new examples from a variational autoencoder.

            Args:
                n: how many, 1 to 144.
                seed: what the draws depend on; the same seed gives the same examples.
                temperature: what the standard deviation of the prior is multiplied by; 1 unless the prior is Gaussian.
                label: a class by name or number, for a conditional model; empty for any.
                source: prior, or posterior for the aggregated posterior of test examples.
                model: the key of the model.

            Returns:
                A picture of them side by side, and their codes.
            """
            return await _worked(workers, _sample, gallery, n, seed, temperature, label, source, model)

        async def reconstruct(image: str, label: str, model: str) -> Any:
            """Encode an image and decode it again.

            Args:
                image: an image file.
                label: a class by name or number, for a conditional model.
                model: the key of the model.

            Returns:
                The image as the model sees it beside its reconstruction; and the code with its terms in nats.
            """
            return await _worked(workers, _reconstruct, gallery, image, label, model)

        async def encode(image: str, label: str, model: str) -> Any:
            """The posterior q(z|x) of an image.

            Args:
                image: an image file.
                label: a class by name or number, for a conditional model.
                model: the key of the model.

            Returns:
                The code z, and the standard deviation of each dimension where the posterior is a diagonal normal.
            """
            return await _worked(workers, _encode, gallery, image, label, model)

        async def decode(z: Any, label: str, model: str) -> Any:
            """The images at codes.

            Args:
                z: a code as a list of numbers, or a list of such codes.
                label: a class by name or number, for a conditional model.
                model: the key of the model.

            Returns:
                A picture of the means of p(x|z) side by side.
            """
            return await _worked(workers, _decode, gallery, z, label, model)

        async def interpolate(image: str, other: str, steps: float, label: str, model: str) -> Any:
            """The way from one image to another through the latent space.

            Args:
                image: an image file.
                other: another.
                steps: images on the way, both ends counted.
                label: a class by name or number, for a conditional model.
                model: the key of the model.

            Returns:
                A strip of images, and the same as an animation there and back.
            """
            return await _worked(workers, _interpolate, gallery, image, other, steps, label, model)

        wired: list[tuple[Endpoint, list[Any], list[Any]]] = [
            (sample, [n, seed, temperature, label, source, model], [picture, numbers]),
            (reconstruct, [image, label, model], [picture, numbers]),
            (encode, [image, label, model], [numbers]),
            (decode, [z, label, model], [picture]),
            (interpolate, [image, other, steps, label, model], [picture, animation]),
        ]
        for endpoint, inputs, outputs in wired:
            gr.Button(endpoint.__name__).click(endpoint, inputs, outputs, api_name=endpoint.__name__)


def _plain(value: Any, name: str, **schema: Any) -> Api:
    """An input of JSON values, checked where it is used."""
    return Api(value, _api_info=schema, label=name)


async def _worked(workers: Workers, compute: Callable[..., Any], gallery: Gallery, *arguments: Any) -> Any:
    try:
        shown = gallery[arguments[-1]]
        await workers.survey(shown)
        return await workers.run(compute, shown, *arguments[:-1])
    except Exception as error:
        raise gr.Error(spoken(error), print_exception=False) from None


def _sample(shown: Shown, n: Any, seed: Any, temperature: Any, label: Any, source: Any) -> Any:
    asks = {"n": whole(n), "seed": whole(seed), "temperature": temperature, "source": source}
    request = Samples.model_validate({"model": shown.key, **asks})
    given = _label(shown, label, wanted=False)
    z, y, pictures = shown.sampled(request.n, given, request.seed, request.temperature, source == "posterior")
    return tiled(pictures), {"z": z.flatten(1).tolist(), "labels": None if y is None else y.tolist()}


def _reconstruct(shown: Shown, image: Any, label: Any) -> Any:
    seen = _input(shown, image)
    found = answers.look(shown, seen, _label(shown, label))
    pair = np.concatenate([shown.pictures(seen.x), shown.pictures(found.again)])
    numbers = {
        "z": found.code.tolist(),
        "terms": found.terms,
        "unit": "nats",
        "notes": [*found.notes, *([found.note] if found.note else [])],
    }
    return tiled(pair, 2), numbers


def _encode(shown: Shown, image: Any, label: Any) -> Any:
    found = answers.look(shown, _input(shown, image), _label(shown, label))
    return {"z": found.code.tolist(), "sd": None if found.sd is None else found.sd.tolist(), "notes": list(found.notes)}


def _decode(shown: Shown, z: Any, label: Any) -> Any:
    z = _read(z) if isinstance(z, str) else z
    codes = z if isinstance(z, list) and z and isinstance(z[0], list) else [z]
    if len(codes) > MOST_SAMPLES:
        raise ConfigError(f"{len(codes):,} codes are more than the {MOST_SAMPLES} that are decoded at a time.")
    checked = [Decode.model_validate({"model": shown.key, "z": code}).z for code in codes]
    if len({len(code) for code in checked}) != 1:
        raise ConfigError("The codes are of different lengths.")
    return tiled(shown.decode(torch.tensor(checked), _label(shown, label)))


def _read(z: str) -> Any:
    """Codes that were sent as text."""
    try:
        return json.loads(z[: 2**20])
    except (ValueError, RecursionError):
        raise ConfigError(f"z is no list of numbers: {short(z)!r}.") from None


def _interpolate(shown: Shown, image: Any, other: Any, steps: Any, label: Any) -> Any:
    y = _label(shown, label)
    count = whole(steps)
    if not isinstance(count, int) or not 2 <= count <= MOST_FRAMES:
        raise ConfigError(f"The steps are a whole number from 2 to {MOST_FRAMES}.")
    a, b = (answers.look(shown, _input(shown, path), y).code for path in (image, other))
    found, _ = answers.frames(shown, a, b, y, count)
    return tiled(found, len(found)), _kept(gif(found))


def _kept(animation: bytes) -> str:
    """The path of a file in Gradio's cache, which is cleaned."""
    from gradio.processing_utils import save_bytes_to_cache
    from gradio.utils import get_upload_folder

    path: str = save_bytes_to_cache(animation, "interpolation.gif", cache_dir=get_upload_folder())
    return path


def _input(shown: Shown, path: Any) -> Input:
    if not path:
        raise DataError("There is no image: give a file.")
    file = Path(str(path))
    if file.stat().st_size > given.MOST_BYTES:
        raise DataError(f"The file has more than {given.MOST_BYTES:,} bytes: make the image smaller.")
    return given.uploaded(shown, file.read_bytes())


def _label(shown: Shown, label: Any, wanted: bool = True) -> int | None:
    """The class that somebody gave by name or number."""
    text = str(label if label is not None else "").strip()
    if not text:
        if wanted and shown.model.conditional:
            raise ConfigError("This model is told a class: give a label.")
        return None
    if len(text) > _LONGEST:
        raise ConfigError(f"The label has {len(text):,} characters: give a class by name or number.")
    number = text.isdecimal() and len(text) < 10 and text not in shown.classes
    parsed = shown.model.context.parse(int(text) if number else text, 1, shown.classes)
    return None if parsed is None else int(parsed[0])


_LONGEST = 200

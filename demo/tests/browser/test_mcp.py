"""`--mcp`: the endpoints as tools, to a client that speaks the protocol over loopback."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from vaekit import VAE

pytestmark = pytest.mark.slow  # a server of its own
TOOLS = {
    "sample": {"n": "integer", "seed": "integer", "temperature": "number", "label": "string", "source": "string"},
    "reconstruct": {"image": "string", "label": "string"},
    "encode": {"image": "string", "label": "string"},
    "decode": {"z": "array", "label": "string"},
    "interpolate": {"image": "string", "other": "string", "steps": "integer", "label": "string"},
}


@pytest.fixture(scope="module")
def url(serving: Any, runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("mcp"), *map(str, runs.values()), "--mcp") as one:
        yield f"{one.url}/gradio_api/mcp/"


def _asked(url: str, *calls: tuple[str, dict[str, Any]]) -> tuple[Any, list[Any]]:
    """The tools that a server has, and what some calls of them give."""

    async def session() -> tuple[Any, list[Any]]:
        async with (
            streamable_http_client(url) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(session())


def _texts(found: Any) -> str:
    return "\n".join(part.text for part in found.content if part.type == "text")


def _codes(found: Any) -> Any:
    """The z among what a tool gives, which Gradio writes as Python does."""
    (codes,) = re.findall(r"'z': (\[[-\d., e\[\]]+\])", _texts(found))
    return json.loads(codes)


def _pixels(found: Any) -> np.ndarray:
    (image,) = [part for part in found.content if part.type == "image"]
    return np.asarray(Image.open(BytesIO(base64.b64decode(image.data))).convert("L"))


def test_the_five_tools_are_described_and_typed(url: str) -> None:
    tools, _ = _asked(url)
    assert {tool.name.rpartition("_")[2]: tool for tool in tools}.keys() == TOOLS.keys()
    for tool in tools:
        taken = tool.inputSchema["properties"]
        wanted = TOOLS[tool.name.rpartition("_")[2]] | {"model": "string"}
        assert {name: one["type"] for name, one in taken.items()} == wanted
        assert all(one["description"] for one in taken.values())
        assert len(tool.description) > 40


def _name(url: str, tool: str) -> str:
    return next(one.name for one in _asked(url)[0] if one.name.rpartition("_")[2] == tool)


def test_tools_answer_as_the_model_does(url: str, models: dict[str, VAE]) -> None:
    z = [0.4, -0.7]
    asks = (
        (_name(url, "sample"), {"n": 4, "seed": 5, "model": "plain"}),
        (_name(url, "decode"), {"z": z, "model": "plain"}),
    )
    _, (sample, decode) = _asked(url, *asks)
    assert not sample.isError
    assert not decode.isError
    times = _pixels(decode).shape[0] // 8
    wanted = models["plain"].decode(torch.tensor([z]))[0, 0].mul(255).round().numpy()
    assert np.abs(_pixels(decode)[::times, ::times].astype(float) - wanted).max() <= 1
    codes = torch.tensor(_codes(sample))
    torch.testing.assert_close(models["plain"].decode(codes), models["plain"].sample(4, seed=5))


def test_an_image_is_sent_and_not_fetched(url: str, models: dict[str, VAE]) -> None:
    x = (torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    file = BytesIO()
    Image.fromarray((x * 255).byte().numpy()).save(file, "PNG")
    sent = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    name = _name(url, "encode")
    asks = ((name, {"image": image, "model": "plain"}) for image in (sent, "http://nowhere.invalid/x.png", "/etc/passwd"))
    _, (fine, fetched, local) = _asked(url, *asks)
    assert _codes(fine) == pytest.approx(models["plain"].encode(x[None, None])[0].tolist(), abs=1e-4)
    for refused in (fetched, local):
        assert refused.isError
        assert "Traceback" not in _texts(refused)
    assert "Nothing is fetched" in _texts(fetched)


def test_what_is_wrong_is_an_error_in_words(url: str) -> None:
    asks = ((_name(url, "sample"), {"n": 0, "model": "plain"}), (_name(url, "decode"), {"z": [0.0], "model": "plain"}))
    _, (schema, own) = _asked(url, *asks)
    assert schema.isError
    assert "minimum of 1" in _texts(schema)
    assert own.isError
    assert "has 2" in _texts(own)


def test_nobody_is_offered_tools_unasked(served: Any) -> None:
    assert httpx.post(f"{served.url}/gradio_api/mcp/", json={}).status_code in (404, 405)

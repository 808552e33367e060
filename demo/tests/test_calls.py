"""What a page may ask, and what it is told where it asks for something else."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from vaekit_demo.calls import CALLS, Gallery, answer
from vaekit_demo.engine.pictures import pictures
from vaekit_demo.engine.shown import Shown

from vaekit import VaekitError

PAD = base64.b64encode(bytes(100)).decode()


@pytest.fixture(scope="session")
def asks(gallery: list[Shown]) -> Any:
    models = Gallery(gallery)
    return lambda name, **request: answer(models, name, {"model": "deep", **request})


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(packed["data"]), np.uint8)
    return raw.reshape(packed["n"], packed["h"], packed["w"], packed["c"])


GOOD: dict[str, dict[str, Any]] = {
    "describe": {},
    "points": {"axes": [0, 1]},
    "decode": {"z": [0.0] * 6},
    "strips": {"z": [0.0] * 6, "dims": [0], "steps": 3},
    "manifold": {"z": [0.0] * 6, "side": 2},
    "look": {"source": {"test": 0}},
    "interpolate": {"a": {"test": 0}, "b": {"random": 3, "of_class": 1}, "frames": 3},
    "gif": {"a": {"test": 0}, "b": {"code": [0.5] * 6}, "frames": 3},
    "arithmetic": {"a": {"mean": 1}, "b": {"mean": 2}, "c": {"test": 5}},
    "samples": {"n": 2, "seed": 5},
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_call_answers_in_json(asks: Any, name: str) -> None:
    assert json.loads(json.dumps(asks(name, **GOOD[name]), allow_nan=False))


def test_pictures_come_as_they_are_decoded(asks: Any, deep: Shown) -> None:
    z = [0.3, -1, 0, 2, 0.1, 0]
    wanted = pictures(deep.model.decode(torch.tensor([z])))
    assert (unpacked(asks("decode", z=z)) == wanted).all()


def test_points_are_where_their_axes_say(asks: Any, deep: Shown) -> None:
    found = asks("points", axes=[4, 2])
    xy = np.frombuffer(base64.b64decode(found["xy"]), "<f4").reshape(-1, 2)
    assert (xy == deep.survey.z[:, [4, 2]].numpy()).all()
    numbers = np.frombuffer(base64.b64decode(found["numbers"]), "<i4")
    y = np.frombuffer(base64.b64decode(found["y"]), "<u2")
    assert deep.test is not None
    assert deep.test.y is not None
    assert (deep.test.y[torch.from_numpy(numbers.copy()).long()].numpy() == y).all()
    a, origin = np.array(found["a"]), np.array(found["origin"])
    assert float((deep.survey.z[3].numpy() - origin) @ a) == pytest.approx(float(xy[3, 0]), abs=1e-5)


def test_what_a_page_lays_itself_out_by(asks: Any, alone: Shown) -> None:
    told = asks("describe")
    assert [d["i"] for d in told["dims"]] == sorted(range(6), key=lambda i: -next(d["kl"] for d in told["dims"] if d["i"] == i))
    assert told["data"]["at_hand"]
    assert told["axes"]
    apart = asks("describe", model="alone")
    assert not apart["data"]["at_hand"]
    assert "elsewhere" in apart["data"]["why"]
    assert not apart["aggregated"]
    assert asks("describe", model="plane")["axes"] == []


def test_a_sum_of_codes_is_a_sum_of_codes(asks: Any, deep: Shown) -> None:
    a, b, c = ([float(i)] * 6 for i in (1, 2, 4))
    found = asks("arithmetic", a={"code": a}, b={"code": b}, c={"code": c}, amount=2)
    assert found["z"] == [2.0] * 6
    assert (unpacked(found["pictures"])[3] == deep.decode(torch.full((1, 6), 2.0), None)[0]).all()


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("decode", {"z": [0.0] * 5}, "has 6"),
    ("decode", {"z": []}, "at least 1"),
    ("decode", {"z": [float("nan")] * 6}, "finite"),
    ("decode", {"z": [1e9] * 6}, "1000000"),
    ("decode", {"z": ["1"] * 6}, "number"),
    ("decode", {"z": [0.0] * 20_000}, "20,000 items"),
    ("decode", {"z": [0.0] * 6, "y": 3}, "not conditional"),
    ("decode", {"z": [0.0] * 6, "model": "nobody"}, "plane, deep, alone"),
    ("decode", {"z": [0.0] * 6, "model": ["deep"]}, "string"),
    ("decode", {"z": [0.0] * 6, "zz": 1}, "no 'zz'"),
    ("strips", {"z": [0.0] * 6, "dims": [6]}, "0 to 5"),
    ("strips", {"z": [0.0] * 6, "dims": list(range(100))}, "at most 64"),
    ("strips", {"z": [0.0] * 6, "dims": [1, 1]}, "given once"),
    ("strips", {"z": [0.0] * 6, "dims": [0], "steps": 10**6}, "15"),
    ("manifold", {"z": [0.0] * 6, "side": 1000}, "25"),
    ("points", {"axes": [1, 1]}, "two different"),
    ("points", {"axes": "tsne"}, "pca"),
    ("look", {"source": {}}, "0 were given"),
    ("look", {"source": {"test": 0, "mean": 1}}, "2 were given"),
    ("look", {"source": {"test": 10**9}}, "no example"),
    ("look", {"source": {"test": -1}}, "0"),
    ("look", {"source": {"random": 0, "of_class": 99}}, "no example of that class"),
    ("look", {"source": {"mean": 1}}, "no example"),
    ("look", {"source": {"file": "%%%"}}, "base64"),
    ("look", {"source": {"file": ""}}, "empty"),
    ("look", {"source": {"file": base64.b64encode(b"<svg/>").decode()}}, "no image"),
    ("look", {"source": {"drawing": {"w": 10, "h": 10, "c": 1, "data": PAD}}}, "Nothing is drawn"),
    ("look", {"source": {"drawing": {"w": 10, "h": 11, "c": 1, "data": PAD}}}, "100 bytes"),
    ("look", {"source": {"drawing": {"w": 10**6, "h": 1, "c": 1, "data": PAD}}}, "512"),
    ("look", {"source": {"test": 0}, "model": "alone"}, "elsewhere"),
    ("look", {"source": {"test": 0}, "seed": 2**40}, "4294967296"),
    ("interpolate", {"a": {"test": 0}, "b": {"test": 1}, "frames": 1}, "2"),
    ("interpolate", {"a": {"test": 0}, "b": {"test": 1}, "frames": 10**4}, "97"),
    ("arithmetic", {"a": {"mean": 50}, "b": {"mean": 2}, "c": {"test": 5}}, "class 50"),
    ("samples", {"n": 0}, "1"),
    ("samples", {"n": 10**6}, "144"),
    ("samples", {"temperature": float("inf")}, "finite"),
    ("samples", {"temperature": 0.5, "source": "posterior"}, "temperature"),
    ("samples", {"source": "posterior", "model": "alone"}, "elsewhere"),
    ("samples", {"seed": True}, "integer"),
]


@pytest.mark.parametrize(("name", "request_", "said"), BAD, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(BAD)])
def test_other_requests_are_errors_that_say_so(asks: Any, name: str, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(VaekitError) as found:
        asks(name, **{**GOOD[name], **request_} if name not in ("look", "decode") else request_)
    assert said in str(found.value)


@pytest.mark.parametrize("request_", [None, [], "x", 3, [{"model": "deep"}]])
def test_requests_that_are_no_objects(gallery: list[Shown], request_: Any) -> None:
    with pytest.raises(VaekitError):
        answer(Gallery(gallery), "describe", request_)

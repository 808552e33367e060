"""The routes of the service, in process: what they take and give, and what they say of what they do not take."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vaekit_runtime import Predictor
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.served import Model

httpx = pytest.importorskip("httpx")
for needed in ("fastapi", "uvicorn", "prometheus_client", "httptools"):
    pytest.importorskip(needed)

JSON, NPY, PNG = "application/json", "application/x-npy", "image/png"
LIMITS = Limits(max_examples=40, max_bytes=20_000)


class Client:
    """Asks a service, one request after the other."""

    def __init__(self, service: Any) -> None:
        self.service = service

    def __call__(self, method: str, path: str, **request: Any) -> Any:
        async def asked() -> Any:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.service), base_url="http://here") as client:
                return await client.request(method, path, **request)

        return asyncio.run(asked())

    def get(self, path: str) -> Any:
        return self("GET", path)

    def post(self, path: str, **request: Any) -> Any:
        return self("POST", path, **request)


@pytest.fixture
def predictor(make: Callable[..., Any]) -> Predictor:
    return Predictor(make(conditional=True).folder, threads=1)


@pytest.fixture
def client(predictor: Predictor) -> Client:
    from vaekit_runtime.service.app import Service

    return Client(Service(Model(predictor, "tiny"), LIMITS))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


X = np.random.default_rng(1).uniform(size=(3, 1, 4, 4)).astype(np.float32)
Z = np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32)
Y = ["cat", 1, "dog"]


def test_each_route_gives_what_the_predictor_gives(client: Any, predictor: Predictor) -> None:
    near = {"rtol": 1e-5, "atol": 1e-6}
    codes = client.post("/encode", json={"x": X.tolist(), "y": Y}).json()["z"]
    np.testing.assert_allclose(codes, predictor.encode(X, Y), **near)
    means = client.post("/decode", json={"z": Z.tolist(), "y": Y}).json()["x"]
    np.testing.assert_allclose(means, predictor.decode(Z, Y), **near)
    again = client.post("/reconstruct", json={"x": X.tolist(), "y": "dog"}).json()["x"]
    np.testing.assert_allclose(again, predictor.reconstruct(X, "dog"), **near)
    drawn = client.post("/sample", json={"n": 5, "y": "dog", "seed": 7, "temperature": 0.5}).json()["x"]
    np.testing.assert_allclose(drawn, predictor.sample(5, "dog", 0.5, 7), **near)
    free = client.post("/sample", json={"n": 5, "seed": 7}).json()["x"]
    np.testing.assert_allclose(free, predictor.sample(5, seed=7), **near)


def test_contexts_are_taken_in_place_of_classes(client: Any, predictor: Predictor) -> None:
    contexts = np.array([[1, 0], [0.5, 0.5], [0, 1]], np.float32)
    means = client.post("/decode", json={"z": Z.tolist(), "y": contexts.tolist()}).json()["x"]
    np.testing.assert_allclose(means, predictor.decode(Z, contexts), rtol=1e-5, atol=1e-6)
    description = client.get("/openapi.json").json()["paths"]["/decode"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert "contexts themselves" in description["properties"]["y"]["description"]


@pytest.mark.parametrize("y", [1, "dog", ["cat", 1, "dog"]])
def test_samples_of_another_prior_are_of_the_classes_that_are_told(make: Callable[..., Any], y: Any) -> None:
    from vaekit_runtime.service.app import Service

    predictor = Predictor(make(conditional=True, standard=False).folder, threads=1)
    client = Client(Service(Model(predictor, "tiny"), LIMITS))
    drawn = client.post("/sample", json={"n": 3, "y": y, "seed": 2})
    np.testing.assert_allclose(drawn.json()["x"], predictor.sample(3, y, seed=2), rtol=1e-5, atol=1e-6)
    refused = client.post("/sample", json={"n": 3, "y": [[0, 1]]})
    assert (refused.status_code, refused.json()["error"].partition(":")[0]) == (422, "prior 'mixture' was drawn for classes")


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f8"])
def test_arrays_of_numpy_go_in_and_out(client: Any, predictor: Predictor, kind: str) -> None:
    z = np.asfortranarray(Z.astype(kind))
    answer = client.post("/decode?y=cat&y=1&y=dog", content=npy(z), headers={"content-type": NPY, "accept": NPY})
    assert answer.headers["content-type"] == NPY
    means = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, predictor.decode(Z.astype(kind).astype(np.float32), Y), rtol=1e-5, atol=1e-6)


def test_pictures_go_in_and_out(client: Any, predictor: Predictor) -> None:
    pixels = np.arange(0, 256, 16, np.uint8).reshape(4, 4)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    code = client.post("/encode?y=1", content=file.getvalue(), headers={"content-type": PNG}).json()["z"]
    np.testing.assert_allclose(code, predictor.encode(pixels[None, None] / np.float32(255), 1), rtol=1e-5)
    answer = client.post("/sample", json={"n": 4, "y": 0, "seed": 3}, headers={"accept": f"text/html, {PNG};q=0.9, */*;q=0.1"})
    with Image.open(io.BytesIO(answer.content)) as shown:
        tiles = np.asarray(shown)[np.r_[0:4, 5:9]][:, np.r_[0:4, 5:9]].reshape(2, 4, 2, 4).swapaxes(1, 2)
    np.testing.assert_array_equal(tiles.reshape(4, 1, 4, 4), np.round(predictor.sample(4, 0, seed=3) * 255))


ASKED_WRONGLY: dict[str, tuple[int, str, dict[str, Any]]] = {
    "not JSON": (400, "is not JSON", {"content": b'{"z": ['}),
    "NaN": (422, "finite", {"content": b'{"z": [[0, 1, NaN]], "y": 0}'}),
    "infinite in float32": (422, "finite", {"content": b'{"z": [[0, 1, 1e39]], "y": 0}'}),
    "infinite": (422, "finite", {"content": b'{"z": [[0, 1, 1e999]], "y": 0}'}),
    "text": (422, "z.0.1", {"content": b'{"z": [[0, "1"]], "y": 0}'}),
    "a flag": (422, "z.0.1", {"content": b'{"z": [[0, true]], "y": 0}'}),
    "nothing": (422, "z.0.1", {"content": b'{"z": [[0, null]], "y": 0}'}),
    "too deep": (400, "is not JSON", {"content": b'{"z": ' + b"[" * 5000 + b"]" * 5000 + b"}"}),
    "no example": (422, "(N, 3)", {"content": b'{"z": [], "y": 0}'}),
    "too wide": (422, "(N, 3)", {"content": b'{"z": [[0, 1, 2, 3]], "y": 0}'}),
    "not an object": (422, "an object with z, y", {"content": b"[1]"}),
    "a field too many": (422, "no 'w'", {"content": b'{"z": [[0, 1, 2]], "y": 0, "w": 1}'}),
    "no label": (422, "none was given", {"content": b'{"z": [[0, 1, 2]]}'}),
    "no such label": (422, "cat, dog", {"content": b'{"z": [[0, 1, 2]], "y": "bat"}'}),
    "no such number": (422, "below 2", {"content": b'{"z": [[0, 1, 2]], "y": 2}'}),
    "labels for others": (422, "one each", {"content": b'{"z": [[0, 1, 2]], "y": [1, 0]}'}),
    "a label that is none": (422, "class number or name", {"content": b'{"z": [[0, 1, 2]], "y": {"a": 1}}'}),
    "contexts of several widths": (422, "one width", {"content": b'{"z": [[0, 1, 2]], "y": [[1, 0], [1]]}'}),
    "too many": (413, "in parts", {"content": json.dumps({"z": [[0, 1, 2]] * 41, "y": 0}).encode()}),
    "too large": (413, f"{LIMITS.max_bytes:,}", {"content": b" " * (LIMITS.max_bytes + 1)}),
    "a form": (415, "x-www-form-urlencoded", {"data": {"z": "1"}}),
    "no type": (415, "without a Content-Type", {"content": b"1", "headers": {}}),
    "an answer as text": (
        406,
        PNG,
        {"content": b'{"z": [[0, 1, 2]], "y": 0}', "headers": {"content-type": JSON, "accept": "text/*"}},
    ),
    "an array that is none": (400, "numpy.save", {"content": b"\x93NUMPY\x01\0\xff", "headers": {"content-type": NPY}}),
    "a header that is none": (400, "numpy.save", {"content": b"\x93NUMPY\x01\0\4\0(((\n", "headers": {"content-type": NPY}}),
    "a long header": (
        400,
        "numpy.save",
        {"content": b"\x93NUMPY\x01\0\xff\xff" + b" " * 9999, "headers": {"content-type": NPY}},
    ),
    "an array cut short": (400, "bytes", {"content": npy(Z)[:-4], "headers": {"content-type": NPY}}),
    "an array of bytes": (422, "uint8", {"content": npy(Z.astype(np.uint8)), "headers": {"content-type": NPY}}),
    "an array of objects": (422, "object", {"content": npy(np.array([[{}, {}, {}]])), "headers": {"content-type": NPY}}),
    "an array of another shape": (422, "(N, 3)", {"content": npy(X), "headers": {"content-type": NPY}}),
    "an array of too many": (413, "in parts", {"content": npy(np.zeros((41, 3))), "headers": {"content-type": NPY}}),
    "an array with NaN": (422, "finite", {"content": npy(Z * np.nan), "headers": {"content-type": NPY}}),
    "a picture to decode": (415, JSON, {"content": b"\x89PNG", "headers": {"content-type": PNG}}),
}


@pytest.mark.parametrize("case", ASKED_WRONGLY)
def test_what_is_asked_wrongly_is_told_in_one_sentence(client: Any, case: str) -> None:
    status, said, request = ASKED_WRONGLY[case]
    headers = {"headers": {"content-type": JSON}} if "content" in request else {}
    answer = client.post("/decode", **{**headers, **request})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert said in error
    assert "\n" not in error
    assert "Traceback" not in error
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "request_"),
    [
        ("GET", "/nothing", 404, {}),
        ("GET", "/../../etc/passwd", 404, {}),
        ("GET", "/docs", 404, {}),
        ("GET", "/decode", 405, {}),
        ("POST", "/health", 405, {"json": {}}),
        ("PUT", "/", 405, {}),
        ("POST", "/sample", 413, {"json": {"n": 41}}),
        ("POST", "/sample", 422, {"json": {"n": 0}}),
        ("POST", "/sample", 422, {"json": {"n": 1, "temperature": -1}}),
        ("POST", "/encode", 422, {"content": b"\x89PNG", "headers": {"content-type": PNG}}),
        ("POST", "/encode", 422, {"content": b"GIF89a", "headers": {"content-type": "image/gif"}}),
    ],
)
def test_other_routes_say_what_is_wrong_too(client: Any, method: str, path: str, status: int, request_: dict[str, Any]) -> None:
    answer = client(method, path, **request_)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


def test_it_says_what_there_is(client: Any) -> None:
    about = client.get("/").json()
    assert (about["data_shape"], about["latent_shape"], about["classes"]) == ([1, 4, 4], [3], ["cat", "dog"])
    assert client.get("/health").json()["status"] == "ready"
    client.get("/a-route-that-there-is-not")
    counts = client.get("/metrics").text.splitlines()
    assert 'vaekit_requests_total{route="other",status="404"} 1.0' in counts
    assert not any("a-route" in line for line in counts)
    assert "vaekit_queue_examples 0.0" in counts


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/openapi.json"])
def test_what_can_be_got_has_a_head(client: Any, path: str) -> None:
    answer = client("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == client.get(path).headers["content-type"]
    assert client("HEAD", "/decode").status_code == 405


def test_every_answer_ends_its_connection_once_the_service_stops(client: Any) -> None:
    assert "connection" not in client.get("/health").headers
    client.service.guard.draining = True
    for answer in (client.get("/health"), client.get("/metrics"), client.post("/sample", json={})):
        assert answer.headers["connection"] == "close"


def test_the_schema_is_one_and_its_examples_are_answered(client: Any) -> None:
    from fastapi.openapi.models import OpenAPI

    text = client.get("/openapi.json").text
    document = json.loads(text)
    OpenAPI.model_validate(document)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in document["components"]["schemas"]
    assert {f"{method} {path}" for path, methods in document["paths"].items() for method in map(str.upper, methods)} == set(
        client.get("/").json()["routes"]
    )
    for path in ("/encode", "/decode", "/sample", "/reconstruct"):
        post = document["paths"][path]["post"]
        schema = post["requestBody"]["content"][JSON]["schema"]
        example = schema["examples"][0]
        assert set(example) <= set(schema["properties"])
        answer = client.post(path, json=example)
        assert answer.status_code == 200
        named = post["responses"]["200"]["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
        assert set(answer.json()) == set(document["components"]["schemas"][named]["properties"])
        assert {"400", "413", "415", "422", "429", "503"} <= set(post["responses"])

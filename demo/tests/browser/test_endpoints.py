"""The named endpoints, as `gradio_client` and plain HTTP see them, against the model itself."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaekit import VAE, Examples
from vaekit.evaluation import bound


@pytest.fixture(scope="module")
def client(served: Any, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served.url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


@pytest.fixture(scope="module")
def http(served: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as one:
        yield one


@pytest.fixture(scope="module")
def x(digits: Examples) -> Tensor:
    """The first test images, as a model sees them."""
    return digits.x[:5].float() / 255


@pytest.fixture
def image(x: Tensor, tmp_path: Path) -> Any:
    """A PNG file of one of them, in its own size."""

    def written(number: int) -> Any:
        path = tmp_path / f"{number}.png"
        Image.fromarray((x[number, 0] * 255).byte().numpy()).save(path)
        return handle_file(str(path))

    return written


def _cells(file: str, n: int, columns: int | None = None) -> np.ndarray:
    """The pictures that stand side by side in a file, each of 8x8 pixels again."""
    pixels = np.asarray(Image.open(file).convert("L"))
    columns = columns or math.ceil(math.sqrt(n))
    step = (pixels.shape[1] + 2) // columns
    times = (step - 2) // 8
    assert pixels.shape == (-(-n // columns) * step - 2, columns * step - 2)
    corners = [(i // columns * step, i % columns * step) for i in range(n)]
    return np.stack([pixels[top : top + 8 * times : times, left : left + 8 * times : times] for top, left in corners])


def _same(cells: np.ndarray, means: Tensor) -> bool:
    """Whether cells are means of p(x|z) in bytes."""
    wanted = means[:, 0].clamp(0, 1).mul(255).round().numpy()
    return bool(np.abs(cells.astype(float) - wanted).max() <= 1)


def _event(http: httpx.Client, name: str, data: list[Any]) -> tuple[str, Any]:
    """What the two requests that docs show for curl give: the name of the event, and its data."""
    headers = {"content-type": "application/json"}
    sent = http.post(f"/gradio_api/call/{name}", content=json.dumps({"data": data}), headers=headers)
    assert sent.status_code == 200, sent.text
    told = http.get(f"/gradio_api/call/{name}/{sent.json()['event_id']}").text
    event, answer = told.strip().split("\n")[-2:]
    return event.removeprefix("event: "), json.loads(answer.removeprefix("data: "))


# What they are.


def test_what_they_take_is_typed(client: Client) -> None:
    found = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    taken = {
        name: {one["parameter_name"]: one["python_type"]["type"] for one in endpoint["parameters"]}
        for name, endpoint in found.items()
    }
    told = {"label": "str", "model": "str"}
    drawn = {"n": "int", "seed": "int", "temperature": "float", "label": "str"}
    assert taken == {
        "/sample": {**drawn, "source": "Literal['prior', 'posterior']", "model": "str"},
        "/reconstruct": {"image": "filepath", **told},
        "/encode": {"image": "filepath", **told},
        "/decode": {"z": "list[float]", **told},
        "/interpolate": {"image": "filepath", "other": "filepath", "steps": "int", **told},
    }
    assert found["/sample"]["parameters"][0]["type"] == {"type": "integer", "minimum": 1, "maximum": 144}
    assert all(endpoint["description"].endswith(".") for endpoint in found.values())


# What they answer.


def test_samples_are_those_of_the_seed(client: Client, models: dict[str, VAE]) -> None:
    picture, numbers = client.predict(n=5, seed=3, model="plain", api_name="/sample")
    assert _same(_cells(picture, 5), models["plain"].sample(5, seed=3))
    z = torch.tensor(numbers["z"])
    assert z.shape == (5, 2)
    assert _same(_cells(picture, 5), models["plain"].decode(z))
    assert numbers["labels"] is None
    other, _ = client.predict(n=5, seed=4, model="plain", api_name="/sample")
    assert not _same(_cells(other, 5), models["plain"].sample(5, seed=3))


def test_samples_of_a_class(client: Client, models: dict[str, VAE]) -> None:
    picture, numbers = client.predict(n=4, seed=7, label="3", temperature=0.5, model="told", api_name="/sample")
    assert numbers["labels"] == [3] * 4
    assert _same(_cells(picture, 4), models["told"].sample(4, y=3, temperature=0.5, seed=7))
    _, numbers = client.predict(n=9, seed=7, model="told", api_name="/sample")
    assert len(set(numbers["labels"])) > 1


def test_samples_of_the_aggregated_posterior(client: Client, models: dict[str, VAE], digits: Examples) -> None:
    """Codes of either source are likelier under their own density, q(z) over the test set or p(z), than under the other's."""
    model, x = models["plain"], digits.x.float() / 255
    with torch.no_grad():
        each = model.posterior(x, model.context(None, len(x))).base_dist
    q = MixtureSameFamily(Categorical(torch.ones(len(x))), Independent(Normal(each.loc, each.scale), 1))
    p = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    gained = {}
    for source in ("prior", "posterior"):
        numbers = client.predict(n=144, source=source, model="plain", api_name="/sample")[1]
        z = torch.tensor(numbers["z"])
        gained[source] = (q.log_prob(z) - p.log_prob(z)).mean().item()
        assert source == "posterior" or z.std().item() == pytest.approx(1, abs=0.15)
    assert gained["prior"] < 0 < gained["posterior"]
    assert gained["posterior"] - gained["prior"] > 0.15


def test_codes_are_decoded(client: Client, models: dict[str, VAE]) -> None:
    z = [[0.3, -1.0], [0.0, 2.0], [1.0, 1.0]]
    picture = client.predict(z=z, model="plain", api_name="/decode")
    assert _same(_cells(picture, 3), models["plain"].decode(torch.tensor(z)))
    one = client.predict(z=z[0], model="plain", api_name="/decode")
    assert _same(_cells(one, 1), models["plain"].decode(torch.tensor(z[:1])))
    told = client.predict(z=[0.5] * 4, label="7", model="told", api_name="/decode")
    assert _same(_cells(told, 1), models["told"].decode(torch.full((1, 4), 0.5), 7))


def test_images_are_encoded(client: Client, models: dict[str, VAE], x: Tensor, image: Any) -> None:
    model = models["plain"]
    for number in range(2):
        found = client.predict(image=image(number), model="plain", api_name="/encode")
        one = x[number : number + 1]
        assert found["z"] == pytest.approx(model.encode(one)[0].tolist(), abs=1e-4)
        with torch.no_grad():
            sd = model.posterior(one, model.context(None, 1)).base_dist.scale[0]
        assert found["sd"] == pytest.approx(sd.tolist(), rel=1e-4)
        assert found["notes"] == []


def test_the_class_counts_in_a_code(client: Client, models: dict[str, VAE], x: Tensor, image: Any) -> None:
    for label in (2, 8):
        found = client.predict(image=image(0), label=str(label), model="told", api_name="/encode")
        assert found["z"] == pytest.approx(models["told"].encode(x[:1], label)[0].tolist(), abs=1e-4)


def test_terms_are_those_of_the_bound(client: Client, models: dict[str, VAE], x: Tensor, image: Any) -> None:
    model, terms = models["plain"], []
    for number in range(len(x)):
        pair, numbers = client.predict(image=image(number), model="plain", api_name="/reconstruct")
        one = x[number : number + 1]
        assert _same(_cells(pair, 2, 2), torch.cat([one, model.decode(model.encode(one))]))
        terms.append(numbers["terms"])
        assert terms[-1]["nelbo"] == pytest.approx(terms[-1]["reconstruction"] + terms[-1]["kl"], abs=1e-3)
    wanted = bound(model, [(x, None)], samples=256)
    for name, away in (("kl", 0.02), ("nelbo", 0.08)):
        assert np.mean([term[name] for term in terms]) == pytest.approx(wanted[name], rel=away)


def test_a_way_and_its_animation(client: Client, models: dict[str, VAE], x: Tensor, image: Any) -> None:
    strip, animation = client.predict(image=image(0), other=image(1), steps=6, model="plain", api_name="/interpolate")
    cells = _cells(strip, 6, 6)
    model = models["plain"]
    assert _same(cells[[0, -1]], model.decode(model.encode(x[:2])))
    with Image.open(animation) as gif:
        assert gif.format == "GIF"
        assert gif.n_frames == 2 * 6 - 2  # there and back, with neither end twice


# What they refuse: in one sentence, which says nothing of the server.

FINE: dict[str, dict[str, Any]] = {"/sample": {"model": "plain"}, "/decode": {"z": [0.0, 0.0], "model": "plain"}}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("/sample", {"n": 0}, "n: .* 1"),
    ("/sample", {"n": 3.5}, "n: .*whole|n: .*integer"),
    ("/sample", {"n": 10**9}, "144"),
    ("/sample", {"n": "a"}, "integer"),
    ("/sample", {"n": None}, "integer"),
    ("/sample", {"n": True}, "integer"),
    ("/sample", {"seed": -1}, "seed: .* 0"),
    ("/sample", {"seed": 2**32}, "4294967296"),
    ("/sample", {"seed": [1]}, "integer"),
    ("/sample", {"temperature": -1}, "temperature: .* 0"),
    ("/sample", {"temperature": 1e9}, "temperature: .* 5"),
    ("/sample", {"temperature": "hot"}, "number"),
    ("/sample", {"temperature": 0.5, "source": "posterior"}, "temperature is of the prior"),
    ("/sample", {"label": "3"}, "not conditional"),
    ("/sample", {"label": "99", "model": "told"}, "no 99"),
    ("/sample", {"label": "cat", "model": "told"}, "no 'cat'"),
    ("/sample", {"label": "1" * 5000, "model": "told"}, "5,000 characters"),
    ("/sample", {"label": "²", "model": "told"}, "no '²'"),
    ("/sample", {"label": {"a": 1}, "model": "told"}, "classes"),
    ("/sample", {"source": "middle"}, "'prior' or 'posterior'"),
    ("/sample", {"model": "nobody"}, "plain, told"),
    ("/sample", {"model": None}, "plain, told"),
    ("/sample", {"model": "x" * 10**5}, "plain, told"),
    ("/decode", {"z": [0.0]}, "has 2"),
    ("/decode", {"z": []}, "at least 1"),
    ("/decode", {"z": None}, "list"),
    ("/decode", {"z": ["a", "b"]}, "number"),
    ("/decode", {"z": [True, False]}, "number"),
    ("/decode", {"z": [0.0, 1e30]}, "1000000"),
    ("/decode", {"z": [[0.0, 1.0], [0.0]]}, "different lengths"),
    ("/decode", {"z": [[[0.0, 1.0]]]}, "number"),
    ("/decode", {"z": [[0.0, 0.0]] * 145}, "144"),
    ("/decode", {"z": {"a": 1}}, "list"),
    ("/decode", {"z": "hello"}, "no list of numbers"),
    ("/decode", {"z": "[0,"}, "no list of numbers"),
    ("/decode", {"z": "[" * 5000}, "no list of numbers"),
    ("/decode", {"z": "[NaN, 0]"}, "finite"),
    ("/decode", {"z": [0.0] * 4, "model": "told"}, "give a label"),
    ("/decode", {"z": [0.0] * 4, "label": "-1", "model": "told"}, "no -1|no '-1'"),
]


def _clear(said: str, served: Any) -> None:
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 400
    for secret in ("Traceback", str(served.folder), "site-packages", "object at 0x", "went wrong"):
        assert secret not in said


@pytest.mark.parametrize("name", FINE)
def test_what_is_refused_below_differs_from_what_is_not(client: Client, name: str) -> None:
    client.predict(**FINE[name], api_name=name)


@pytest.mark.parametrize(("name", "wrong", "said"), BAD, ids=range(len(BAD)))
def test_what_is_refused(client: Client, served: Any, name: str, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError, match=said) as found:
        client.predict(**{**FINE[name], **wrong}, api_name=name)
    _clear(found.value.message, served)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none(http: httpx.Client, served: Any, value: float) -> None:
    for name, data in (("sample", [4, 0, value, "", "prior", "plain"]), ("sample", [value, 0, 1, "", "prior", "plain"])):
        event, answer = _event(http, name, data)
        assert event == "error"
        _clear(answer["error"], served)
    event, answer = _event(http, "decode", [[0.0, value], "", "plain"])
    assert event == "error"
    assert "finite" in answer["error"]


@pytest.mark.parametrize("data", [[], [4], [None] * 6, ["x"] * 6, [[]] * 6, [{"path": "/etc/passwd"}] * 6])
def test_requests_of_another_shape(http: httpx.Client, served: Any, data: list[Any]) -> None:
    event, answer = _event(http, "sample", data)
    assert event == "error"
    _clear(answer["error"], served)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "x", "../../etc/passwd", "", "data:image/png;base64,AAAA", "http://example.invalid/x.png"]
)
def test_paths_that_were_not_uploaded(http: httpx.Client, served: Any, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for sent in (file, {"path": "x", "url": path, "meta": file["meta"]}, path):
        event, answer = _event(http, "encode", [sent, "", "plain"])
        assert event == "error"
        _clear(answer["error"], served)
    event, answer = _event(http, "sample", [4, 0, 1, file, "prior", "told"])
    assert event == "error"
    assert str(served.folder) not in answer["error"]


# Files.


def _file(pixels: np.ndarray | list[Any], kind: str = "PNG", **options: Any) -> bytes:
    first, *rest = [Image.fromarray(one) for one in (pixels if isinstance(pixels, list) else [pixels])]
    file = BytesIO()
    first.save(file, kind, **options, **({"append_images": rest, "save_all": True} if rest else {}))
    return file.getvalue()


def _ring(bits: int = 8) -> np.ndarray:
    down, across = np.mgrid[:60, :60]
    ink = abs(np.hypot(down - 30, across - 30) - 18) < 4
    return (ink * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def _noise() -> bytes:
    return _file(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8))


FILES: list[tuple[str, bytes, str]] = [
    ("text.png", b"no image at all, but its name says so", "no image of a kind"),
    ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image of a kind"),
    ("empty.png", b"", "empty"),
    ("wide.png", _file(np.zeros((1, 20_000), np.uint8)), "20,000 x 1 pixels"),
    ("short.png", _noise()[:15_000], "damaged or cut short"),
    ("plain.png", _file(np.full((30, 30), 200, np.uint8)), "one colour"),
]
NOTED: list[tuple[str, bytes, str]] = [
    ("moving.gif", _file([_ring(), 255 - _ring(), _ring().T[::-1] // 2], "GIF"), "first of 3 frames"),
    ("clear.png", _file(np.dstack([_ring() * 0] * 3 + [_ring()])), "transparent"),
    ("deep.png", _file(_ring(16)), "16 bits"),
]


@pytest.mark.parametrize(("name", "data", "said"), FILES, ids=[name for name, _, _ in FILES])
def test_files_that_are_refused(client: Client, served: Any, tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AppError, match=said) as found:
        client.predict(image=handle_file(str(tmp_path / name)), model="plain", api_name="/reconstruct")
    _clear(found.value.message, served)


@pytest.mark.parametrize(("name", "data", "said"), NOTED, ids=[name for name, _, _ in NOTED])
def test_files_of_which_there_is_something_to_say(client: Client, tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    found = client.predict(image=handle_file(str(tmp_path / name)), model="plain", api_name="/encode")
    assert any(said in note for note in found["notes"])
    assert all(map(math.isfinite, found["z"]))


def test_too_many_bytes(http: httpx.Client) -> None:
    for size, said in ((5 * 2**20, "maximum allowed size"), (10**7, "more than")):
        sent = http.post("/gradio_api/upload", files={"files": ("large.png", bytes(size))})
        assert sent.status_code == 413
        assert said in sent.text


# Many at once, and by hand.


def test_draws_with_a_seed_are_the_same_in_a_crowd(served: Any, models: dict[str, VAE]) -> None:
    def visit(visitor: int) -> dict[int, Any]:
        with httpx.Client(base_url=served.url, timeout=60) as http:
            seeds = [(visitor + i) % 4 for i in range(4)]
            return {seed: _event(http, "sample", [3, seed, 1, "", "prior", "plain"])[1][1]["z"] for seed in seeds}

    with ThreadPoolExecutor(8) as crowd:
        found = list(crowd.map(visit, range(8)))
    for seed in range(4):
        assert len({json.dumps(visitor[seed]) for visitor in found}) == 1
        model = models["plain"]
        torch.testing.assert_close(model.decode(torch.tensor(found[0][seed])), model.sample(3, seed=seed))


def test_two_plain_requests(http: httpx.Client, models: dict[str, VAE]) -> None:
    event, (picture, numbers) = _event(http, "sample", [4, 3, 1, "", "prior", "plain"])
    assert event == "complete"
    file = http.get(picture["url"])
    assert file.headers["content-type"] == "image/png"
    assert _same(_cells(BytesIO(file.content), 4), models["plain"].decode(torch.tensor(numbers["z"])))
    named = http.post("/gradio_api/call/v2/sample", json={"n": 2, "model": "plain"})
    told = http.get(f"/gradio_api/call/v2/sample/{named.json()['event_id']}").text
    assert len(json.loads(told.split("data: ")[-1])[1]["z"]) == 2

"""What is served: a trained model of vaekit through an adapter, or an exported one without torch."""

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vaekit_runtime import InputError, ModelError
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.opening import open_model

torch, vaekit = pytest.importorskip("torch"), pytest.importorskip("vaekit")
httpx = pytest.importorskip("httpx")
for needed in ("fastapi", "uvicorn", "prometheus_client", "httptools"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a model that has never been trained, which gives it random weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        parts = {"latent": {"name": "gaussian", "features": 3}, "encoder": {"name": "mlp", "hidden": [8]}}
        model, _ = vaekit.build(vaekit.Config(data_shape=(1, 4, 4), **parts))
    return model.save(tmp_path_factory.mktemp("trained") / "model")


def asked(folder: Path, path: str, **request: Any) -> Any:
    from vaekit_runtime.service.app import Service

    async def ask() -> Any:
        transport = httpx.ASGITransport(Service(open_model(str(folder)), Limits()))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(path, **request)

    return asyncio.run(ask())


def test_a_trained_model_answers_as_it_does_in_python(folder: Path) -> None:
    model = vaekit.load(folder)
    x, z = torch.rand(3, 1, 4, 4), torch.randn(3, 3)
    near = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(asked(folder, "/encode", json={"x": x.tolist()}).json()["z"], model.encode(x), **near)
    np.testing.assert_allclose(asked(folder, "/decode", json={"z": z.tolist()}).json()["x"], model.decode(z), **near)
    np.testing.assert_allclose(asked(folder, "/reconstruct", json={"x": x.tolist()}).json()["x"], model.reconstruct(x), **near)
    drawn = asked(folder, "/sample", json={"n": 4, "seed": 5, "temperature": 0.5}).json()["x"]
    np.testing.assert_allclose(drawn, model.sample(4, temperature=0.5, seed=5), **near)


def test_a_trained_model_sees_pictures_as_it_does_in_python(folder: Path) -> None:
    from vaekit import inputs

    model, file = vaekit.load(folder), io.BytesIO()
    picture = Image.fromarray(np.arange(0, 250, 2, np.uint8)[:120].reshape(10, 12))
    picture.save(file, "PNG")
    code = asked(folder, "/encode", content=file.getvalue(), headers={"content-type": "image/png"}).json()["z"]
    np.testing.assert_allclose(code, model.encode(inputs.image(picture, model)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "request_", "said"),
    [
        ("/decode", {"json": {"z": [[0, 0, 0]], "y": 1}}, "no 'y'"),
        ("/decode?y=1", {"content": None}, "not conditional"),
        ("/encode", {"content": b"\x89PNG", "headers": {"content-type": "image/png"}}, "image"),
    ],
)
def test_what_does_not_fit_a_trained_model_is_told(folder: Path, path: str, request_: dict[str, Any], said: str) -> None:
    if request_.get("content", b"") is None:
        file = io.BytesIO()
        np.save(file, np.zeros((1, 3)))
        request_ = {"content": file.getvalue(), "headers": {"content-type": "application/x-npy"}}
    answer = asked(folder, path, **request_)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_a_conditional_model_is_told_its_classes(tmp_path: Path) -> None:
    pytest.importorskip("vaekit_conditional")
    context = {"name": "labels", "classes": 3}
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 4, 4), context=context))
    folder = model.save(tmp_path / "model")
    z = torch.randn(2, *model.latent.out_shape)
    means = asked(folder, "/decode", json={"z": z.tolist(), "y": [2, "1"]}).json()["x"]
    np.testing.assert_allclose(means, model.eval().decode(z, [2, 1]), rtol=1e-5, atol=1e-6)
    assert "3 classes" in asked(folder, "/decode", json={"z": z.tolist(), "y": 3}).json()["error"]
    drawn = asked(folder, "/sample", json={"n": 2, "y": 1, "seed": 3}).json()["x"]
    np.testing.assert_allclose(drawn, model.sample(2, 1, seed=3), rtol=1e-5, atol=1e-6)
    for path, rest in (("/decode", {"z": z.tolist()}), ("/sample", {"n": 2})):
        refused = asked(folder, path, json={"y": [[0, 0, 1]], **rest})
        assert refused.status_code == 422
        assert refused.json()["error"] == "y is not what it must be: A class number or name, one for all or one each."


def test_a_model_and_its_export_say_the_same_of_their_data(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from vaekit.export import write

    write(vaekit.load(folder), tmp_path / "exported", parts=["decode"], name="model")
    trained, exported = open_model(str(folder)), open_model(str(tmp_path / "exported"))
    assert exported.units
    assert (trained.units, trained.range, trained.name) == (exported.units, exported.range, exported.name)


def test_what_cannot_be_opened_says_why(tmp_path: Path, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="nothing"):
        open_model(str(tmp_path / "nothing"))
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "decode.pt2").touch()
    with pytest.raises(ModelError, match=r"programs of torch\.export: export the model with --format onnx"):
        open_model(str(tmp_path / "programs"))
    monkeypatch.setitem(sys.modules, "vaekit", None)
    with pytest.raises(InputError, match="pip install vaekit"):
        open_model(str(tmp_path))
    assert open_model(str(make().folder)).name == "tiny"


def test_an_exported_model_is_served_without_torch_and_by_the_half_that_there_is(make: Callable[..., Any]) -> None:
    program = """
import sys
from vaekit_runtime.service.app import Service
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.opening import open_model
paths = Service(open_model(sys.argv[1], 1), Limits()).api.openapi()["paths"]
print(*paths, *({"torch", "vaekit"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(make().folder / "decode.onnx")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["/", "/health", "/metrics", "/decode", "/sample"]

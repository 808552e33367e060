"""Exported programs give what the model gives, say what they are, and are refused where they cannot."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import vaekit
from vaekit import export, inputs, registry
from vaekit.cli import app
from vaekit.config import DEFAULTS
from vaekit.stopping import unwound

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

SMALL: dict[str, dict[str, Any]] = {
    "latent categorical": {"variables": 2, "classes": 3},
    "latent fsq": {"levels": [3, 2], "positions": 2},
    "latent grid-gaussian": {"channels": 2, "height": 2, "width": 2},
    "latent joint": {"features": 2, "classes": 3},
    "latent ladder": {"features": [2, 3], "hidden": 8},
    "latent residual-vq": {"quantizers": 2, "codes": 8, "width": 3, "positions": 2},
    "latent vq": {"codes": 8, "width": 3, "positions": 2},
    "encoder conv": {"width": 4},
    "encoder mlp": {"hidden": [8]},
    "encoder resnet": {"width": 4},
    "encoder vit": {"width": 8, "layers": 1, "heads": 2},
    "decoder lstm": {"hidden": 8},
    "decoder mlp": {"hidden": [8]},
    "decoder resnet": {"width": 4},
    "decoder spatial-broadcast": {"width": 4, "depth": 2},
    "decoder transposed-conv": {"width": 4},
    "likelihood categorical": {"levels": 7},
    "likelihood discretized-logistic": {"levels": 7},
    "likelihood discretized-logistic-mixture": {"levels": 7, "components": 2},
    "likelihood pixelcnn": {"width": 4, "depth": 1, "kernel": 3},
}
HALF = {"encoder": "encode", "latent": "encode", "decoder": "decode", "likelihood": "decode"}
"""Which half of a model a part is in."""
CANNOT = {"likelihood pixelcnn": "p(x | z) has no mean in closed form"}
"""The parts that cannot be exported, and why."""


def _spec(kind: str, name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **SMALL.get(f"{kind} {name}", {}), **options}


def _model(data_shape: tuple[int, ...] = (1, 8, 8), **parts: Any) -> vaekit.VAE:
    """A small model, whose parameters are random and not those that training begins with."""
    specs = {kind: _spec(kind, DEFAULTS[kind]) for kind in ("encoder", "latent", "decoder")} | parts
    torch.manual_seed(1)
    model, _ = vaekit.build({"data_shape": data_shape, **specs})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def _examples(model: vaekit.VAE, n: int) -> torch.Tensor:
    torch.manual_seed(2)
    return model.likelihood(torch.randn(n, *model.likelihood.in_shape)).sample()


def _run(path: Path, *inputs: Any) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], map(np.asarray, inputs), strict=True)))


def _described(path: Path) -> dict[str, Any]:
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return json.loads(found["vaekit"])


PARTS = [(part.kind, part.name) for part in registry.list() if part.kind in HALF]
IMAGE, SEQUENCE, VECTOR = (1, 8, 8), (6, 4), (5,)
OTHERWISE: list[tuple[str, str, dict[str, Any], tuple[int, ...]]] = [
    ("encoder", "lstm", {}, SEQUENCE),
    ("encoder", "lstm", {"bidirectional": True, "layers": 2}, SEQUENCE),
    ("encoder", "lstm", {"cell": "gru", "bidirectional": True}, SEQUENCE),
    ("encoder", "mlp", {}, VECTOR),
    ("encoder", "vit", {"pool": "class"}, SEQUENCE),
    ("decoder", "lstm", {"cell": "gru"}, SEQUENCE),
    ("decoder", "mlp", {}, VECTOR),
]
"""Parts that compute otherwise with other options, or on other data."""
EXPORTED = [*((kind, name, {}, IMAGE) for kind, name in PARTS), *OTHERWISE]


@pytest.mark.parametrize(
    ("kind", "name", "options", "shape"), EXPORTED, ids=["-".join((*e[:2], *e[2], str(len(e[3])))) for e in EXPORTED]
)
def test_every_part_leaves_python(
    kind: str, name: str, options: dict[str, Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    parts = {kind: _spec(kind, name, **options)}
    if kind == "latent":
        parts["prior"] = {"name": registry.find("latent", name)((8,), 0, **SMALL.get(f"latent {name}", {})).root.usual_prior}
    model = _model(shape, **parts)
    if why := CANNOT.get(f"{kind} {name}"):
        with pytest.raises(vaekit.ConfigError) as refused:
            export.write(model, tmp_path / "out", parts=[HALF[kind]])
        assert why in str(refused.value)
        assert repr(name) in str(refused.value)
        assert export.write(model, tmp_path / "other", parts=["encode"])
        return
    (done,) = export.write(model, tmp_path / "out", parts=[HALF[kind]])
    x = _examples(model, 5)
    if (name, shape) == ("lstm", SEQUENCE):
        x[0, 3:] = x[1, 1:] = torch.nan  # the padding of shorter sequences
    code = model.encode(x) if kind != "decoder" else torch.randn(5, *model.latent.out_shape)
    given, wanted = (x, code) if HALF[kind] == "encode" else (code, model.decode(code))
    for some in (slice(5), slice(1)):
        np.testing.assert_allclose(_run(done.path, given[some])[0], wanted[some], atol=1e-4)


def test_what_cannot_be_exported_is_a_part_that_there_is() -> None:
    assert {f"{kind} {name}" for kind, name in PARTS} >= CANNOT.keys()


@pytest.fixture(scope="module")
def conditional() -> vaekit.VAE:
    info = vaekit.config.DataInfo(name="letters", classes=("a", "b", "<c>"), examples=9, binarize="dynamic", bytes=True)
    labels = {"name": "labels", "classes": 3, "encoding": "embedding", "features": 4}
    return _model((1, 6, 5), context=labels, prior={"name": "conditional"}, data=info)


@pytest.fixture(scope="module")
def exported(conditional: vaekit.VAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    x = _examples(conditional, 70)
    export.write(conditional, folder, name="letters", examples=(x, torch.arange(70) % 3))
    return folder


def test_a_file_says_what_it_takes_and_gives(conditional: vaekit.VAE, exported: Path) -> None:
    encode, decode = (_described(exported / f"{half}.onnx") for half in ("encode", "decode"))
    assert [encode["part"], decode["part"]] == ["encode", "decode"]
    assert encode["digest"] == decode["digest"]
    assert {t["name"]: t["shape"] for t in (*encode["inputs"], *encode["outputs"])} == {
        "x": ["batch", 1, 6, 5],
        "c": ["batch", 4],
        "code": ["batch", 16],
        "std": ["batch", 16],
    }
    assert {t["name"]: t["shape"] for t in (*decode["inputs"], *decode["outputs"])} == {
        "z": ["batch", 16],
        "c": ["batch", 4],
        "mean": ["batch", 1, 6, 5],
    }
    assert decode["outputs"][0]["range"] == [0, 1]
    assert [t["padding"] for t in encode["inputs"]] == [False, False]
    assert decode["data"]["units"] == "black 0, white 1"
    assert decode["context"]["classes"] == ["a", "b", "<c>"]
    torch.testing.assert_close(torch.tensor(decode["context"]["rows"]), conditional.context(torch.arange(3), 3))
    assert decode["config"] == conditional.config.model_dump(mode="json")
    assert 0 < decode["parity"]["real"] <= export.parity.MOST
    assert decode["parity"]["examples"] == 64
    for described, file in ((encode, "encode"), (decode, "decode")):
        session = onnxruntime.InferenceSession((exported / f"{file}.onnx").read_bytes())
        said = [(t["name"], t["shape"][1:]) for t in described["inputs"]]
        assert said == [(i.name, i.shape[1:]) for i in session.get_inputs()]
        assert [t["name"] for t in described["outputs"]] == [o.name for o in session.get_outputs()]
        assert all(isinstance(t.shape[0], str) for t in session.get_inputs())


@pytest.mark.parametrize(
    ("likelihood", "ends"), [("bernoulli", [0, 1]), ("gaussian", None), ("poisson", [0, None]), ("beta", [0, 1])]
)
def test_the_range_of_means_is_that_of_the_likelihood(likelihood: str, ends: Any, tmp_path: Path) -> None:
    info = vaekit.config.DataInfo(name="pictures", examples=9, bytes=True)
    (done,) = export.write(_model(likelihood=likelihood, data=info), tmp_path / "out", parts=["decode"])
    assert _described(done.path)["outputs"][0]["range"] == ends
    assert _described(done.path)["data"]["range"] == [0, 1]


def test_classes_may_be_many(tmp_path: Path) -> None:
    model = _model((3,), context={"name": "labels", "classes": 1000}, latent={"name": "gaussian", "features": 2})
    export.write(model, tmp_path / "out")
    assert _described(tmp_path / "out" / "decode.onnx")["context"]["rows"] == "one-hot"
    z = torch.randn(2, 2)
    given = vaekit.Predictor(tmp_path / "out").decode(z.numpy(), [999, "17"])
    np.testing.assert_allclose(given, model.decode(z, [999, 17]), atol=1e-5)


def test_where_a_model_lies_is_nobody_elses_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _model().save("runs/me@host")
    loaded = vaekit.load("runs/me@host")
    (done,) = export.write(loaded, "out", parts=["decode"])
    assert _described(done.path)["source"] == ""
    loaded.source = f"user/model@{'0' * 40}"
    (done,) = export.write(loaded, "again", parts=["decode"])
    assert _described(done.path)["source"] == loaded.source


def test_std_is_that_of_the_posterior(conditional: vaekit.VAE, exported: Path) -> None:
    x, y = _examples(conditional, 4), torch.tensor([0, 1, 2, 0])
    c = conditional.context(y, 4).detach()
    code, std = _run(exported / "encode.onnx", x, c)
    q = conditional.posterior(x, c)
    np.testing.assert_allclose(code, q.mean.detach(), atol=1e-5)
    np.testing.assert_allclose(std, q.stddev.detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [("gaussian", ["code", "std"]), ("ladder", ["code", "std"]), ("flow", ["code"]), ("full-gaussian", ["code"])],
)
def test_std_is_given_of_a_diagonal_gaussian_root_alone(name: str, outputs: list[str], tmp_path: Path) -> None:
    model = _model(latent=_spec("latent", name))
    (done,) = export.write(model, tmp_path / "out", parts=["encode"])
    described = _described(done.path)
    assert [t["name"] for t in described["outputs"]] == outputs
    if len(outputs) == 2:
        assert tuple(described["outputs"][1]["shape"][1:]) == model.latent.root.shape


def test_a_prior_that_is_not_standard_normal_ships_draws(conditional: vaekit.VAE, exported: Path, tmp_path: Path) -> None:
    with np.load(exported / "prior.npz", allow_pickle=False) as found:
        z, y = found["z"], found["y"]
    assert z.dtype == np.float32
    assert np.bincount(y).tolist() == [len(y) // 3] * 3
    for of_class in range(3):
        own = z[y == of_class]
        p = conditional.prior_z(conditional.context(torch.tensor([of_class]), 1))
        error = p.stddev[0].detach().numpy() / len(own) ** 0.5
        assert (np.abs(own.mean(0) - p.mean[0].detach().numpy()) < 5 * error).all()
    assert _described(exported / "decode.onnx")["prior"] == {
        "name": "conditional",
        "standard": False,
        "file": "prior.npz",
        "draws": len(z),
    }
    export.write(_model(), tmp_path / "normal")
    assert sorted(path.name for path in (tmp_path / "normal").iterdir()) == ["README.md", "decode.onnx", "encode.onnx"]
    assert _described(tmp_path / "normal" / "decode.onnx")["prior"]["standard"] is True


def test_a_program_of_torch_export_needs_no_vaekit(conditional: vaekit.VAE, tmp_path: Path) -> None:
    done = export.write(conditional, tmp_path / "out", format="torch")
    assert [d.path.name for d in done] == ["encode.pt2", "decode.pt2"]
    x, y = _examples(conditional, 7), torch.arange(7) % 3
    said = {"vaekit.json": ""}
    encode = torch.export.load(done[0].path, extra_files=said).module()
    assert json.loads(said["vaekit.json"])["part"] == "encode"
    c = conditional.context(y, 7).detach()
    with torch.no_grad():
        code, _ = encode(x, c)
        (mean,) = torch.export.load(done[1].path).module()(code, c)
    torch.testing.assert_close(code, conditional.encode(x, y))
    torch.testing.assert_close(mean, conditional.reconstruct(x, y))


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lighter_weights_are_smaller_and_their_loss_is_told(precision: str, tmp_path: Path) -> None:
    model = _model(encoder={"name": "mlp", "hidden": [256, 256]}, decoder={"name": "mlp", "hidden": [256, 256]})
    full = export.write(model, tmp_path / "full")
    lighter = export.write(model, tmp_path / "lighter", precision=precision)
    code = model.encode(_examples(model, 200))
    (mean,) = _run(lighter[1].path, code)
    for done, whole in zip(lighter, full, strict=True):
        assert done.bytes < {"float16": 0.65, "int8": 0.5}[precision] * whole.bytes
        assert whole.differences.random < done.differences.random < 0.1
        assert 0 < done.differences.rms <= done.differences.random
        assert _described(done.path)["precision"] == precision
    off = float(np.abs(mean - model.decode(code).numpy()).max())
    assert lighter[1].differences.random / 10 < off < 10 * lighter[1].differences.random


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_any_dtype_is_exported_and_left_as_it_is(dtype: torch.dtype, tmp_path: Path) -> None:
    model = _model().to(dtype).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (done,) = export.write(model, tmp_path / "out", parts=["decode"])
    assert model.training
    assert all(parameter.requires_grad and parameter.dtype == dtype for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    z = torch.randn(3, 16)
    assert _run(done.path, z)[0].dtype == np.float32
    np.testing.assert_allclose(_run(done.path, z)[0], model.float().decode(z), atol=1e-5)


class _Elsewhere(vaekit.Encoder):
    """Another program than it is: while it is traced it computes something else."""

    name = "elsewhere"

    def __init__(self, in_shape: Any, context: int) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 8)
        self.out_shape = (8,)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)) + (0.5 if torch.compiler.is_exporting() else 0.0)


class _Branching(_Elsewhere):
    """It looks at its values, so that it has no graph."""

    name = "branching"

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1) if x.sum() > 0 else -x.flatten(1))


class _BlindToPadding(vaekit.Encoder):
    """It takes padding, but its graph does not."""

    name = "blind-to-padding"
    takes_padding = True

    def __init__(self, in_shape: Any, context: int) -> None:
        super().__init__()
        self.layer = nn.Linear(24, 8)
        self.out_shape = (8,)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layer((x if torch.compiler.is_exporting() else x.nan_to_num(0)).flatten(1))


def test_padding_is_compared_too(tmp_path: Path) -> None:
    model = _model((6, 4))
    model.encoder = _BlindToPadding((6, 4), 0)
    with pytest.raises(vaekit.ConfigError, match="encode is not exported: its program is inf off the model"):
        export.write(model.eval(), tmp_path / "out", format="torch")


class _OfOneSize(_Elsewhere):
    """It asks for the size of a batch in a way that has no graph."""

    name = "of-one-size"

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)) + torch.zeros(len(x), 8)


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        (_Elsewhere, "encode is not exported: its program is .* off the model, and 0.0001 is the most that is allowed"),
        (
            _Branching,
            "encode cannot be exported, with encoder 'branching' and latent 'gaussian': torch.export fails with .*decode",
        ),
        (_OfOneSize, "encoder 'of-one-size' .*: it has a graph for one size of batch alone: take the size as "),
    ],
)
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_what_has_no_faithful_graph_is_refused(encoder: Any, says: str, format: str, tmp_path: Path) -> None:
    model = _model()
    model.encoder = encoder((1, 8, 8), 0)
    with pytest.raises(vaekit.ConfigError, match=says):
        export.write(model.eval(), tmp_path / "out", format=format)
    assert list(tmp_path.iterdir()) == []
    assert export.write(model, tmp_path / "out", format=format, parts=["decode"])


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"parts": ["encod"]}, "no half 'encod' to export, but encode and decode; did you mean 'encode'"),
        ({"parts": []}, "nothing to export: name encode or decode"),
        ({"format": "onx"}, "no format 'onx': there are torch, onnx; did you mean 'onnx'"),
        ({"precision": "int4"}, "no precision 'int4': there are float32, float16, int8"),
        ({"precision": "int8", "format": "torch"}, "precision 'int8' is for format onnx; torch is written in float32"),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match=says):
        export.write(_model(), tmp_path / "out", **asked)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_or_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(vaekit.ConfigError, match=f"{name} is there already, and nothing is written over"):
            export.write(model, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert export.write(model, tmp_path / "empty", format="torch")
    with pytest.raises(vaekit.CheckpointError, match="file/out cannot be written: Not a directory"):
        export.write(model, tmp_path / "file" / "out", format="torch")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(vaekit.ConfigError, match=r"^\. is the folder that you are in: give one inside it"):
        export.write(model, ".", format="torch")
    model.encoder = _Branching((1, 8, 8), 0)
    with pytest.raises(vaekit.ConfigError, match="cannot be exported"):
        export.write(model.eval(), tmp_path / "a" / "b" / "c", format="torch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "link"]


def test_a_command_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    def ended() -> None:
        with unwound(), export.appearing(tmp_path / "out") as folder:
            (folder / "half").write_text("of it")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        ended()
    assert left.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(vaekit.ConfigError, match=r'ONNX needs onnxscript, not installed here: pip install "vaekit\[onnx\]"'):
        export.write(_model(), tmp_path / "out")
    assert export.write(_model(), tmp_path / "out", format="torch")


# The command, on a run; and what reads its files.


def _vaekit(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the digits, trained for a moment, which is told what digit each is."""
    small = {"encoder": {"hidden": [32]}, "decoder": {"hidden": [32]}, "latent": {"features": 2}, "context": "labels"}
    return vaekit.fit("digits", **small, epochs=2, output=tmp_path_factory.mktemp("runs"), name="digits-vae").path


@pytest.fixture(scope="module")
def of_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("of-run") / "out"
    told = _vaekit("export", str(run), "--format", "onnx", "--output", str(folder)).stdout.splitlines()
    assert len(told) == 2
    assert all("off the model on random inputs, " in line and "on 64 test examples" in line for line in told)
    return folder


def test_the_command_says_what_it_wrote(run: Path, tmp_path: Path) -> None:
    done = _vaekit("export", str(run), "--format", "torch", "--parts", "decode", "--output", str(tmp_path / "out"), "--json")
    (program,) = json.loads(done.stdout)["programs"]
    assert program["file"] == str(tmp_path / "out" / "decode.pt2")
    assert Path(program["file"]).stat().st_size == program["bytes"]
    assert program["real"] <= 1e-4
    page = (tmp_path / "out" / "README.md").read_text()
    assert page.startswith("# digits-vae, exported\n")
    assert str(run) not in page


@pytest.mark.parametrize("given", ["onnx", "torch"])
def test_the_readme_of_a_folder_runs(run: Path, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _vaekit("export", str(run), "--format", given, "--output", str(tmp_path / "out"))
    monkeypatch.chdir(tmp_path / "out")
    code = Path("README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "what to export: give --format torch, --format onnx or --web"),
        (["--format", "onnx", "--light"], "--light is for --web"),
        (["--web", "--precision", "int8"], "--precision is for --format"),
        (["--web", "--parts", "encode"], "--parts is for --format"),
        (["--format", "onnx", "--parts", "encode,prior"], "no half 'prior' to export"),
    ],
)
def test_a_command_that_is_wrong_is_one_line(run: Path, arguments: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match=says):
        _vaekit("export", str(run), "--output", str(tmp_path / "out"), *arguments)


def test_pages_come_with_the_demo(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_PLUGINS", "vaekit-conditional")
    with pytest.raises(vaekit.ConfigError, match=r'--web comes with vaekit-demo, .*pip install "vaekit\[web\]"'):
        _vaekit("export", str(run), "--output", str(tmp_path / "out"), "--web")


def test_a_predictor_gives_what_the_model_gives(run: Path, of_run: Path) -> None:
    model, predictor = vaekit.load(run), vaekit.Predictor(of_run)
    test, classes = inputs.examples_of(str(run), model)
    x, y = next(iter(vaekit.Batches(test, 90)))
    assert predictor.classes == classes
    names = [classes[i] for i in y]
    np.testing.assert_allclose(predictor.encode(x.numpy(), y.numpy()), model.encode(x, y), atol=1e-5)
    np.testing.assert_allclose(predictor.reconstruct(x.numpy(), names), model.reconstruct(x, y), atol=1e-5)
    z = torch.randn(5, 2)
    np.testing.assert_allclose(predictor.decode(z.numpy(), "7"), model.decode(z, 7), atol=1e-5)
    assert predictor.sample(6, y=3, seed=1).shape == tuple(model.sample(6, y=3, seed=1).shape)
    z, c = predictor.draw(6, y=3, seed=1)
    np.testing.assert_allclose(predictor.sample(6, y=3, seed=1), model.decode(z, 3), atol=1e-5)
    np.testing.assert_array_equal(c, np.eye(10)[[3] * 6])

"""The command line, as a person runs it."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import vaekit
from vaekit.cli import app, overrides

TRAIN = [
    "train",
    "digits",
    "binarize=dynamic",
    "latent.features=2",
    "encoder.hidden=[16]",
    "decoder.hidden=[16]",
    "--epochs",
    "2",
]


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs in it, the newer one conditional."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _run(*TRAIN, "--name", "plain")
        _run(*TRAIN, "context=labels", "--name", "labelled")
    return folder


@pytest.fixture(autouse=True)
def _here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "place" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("place"))


def test_training_tells_where_everything_is_and_what_to_try(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run(*TRAIN, "--quiet", "--name", "r")
    assert result.exit_code == 0
    assert result.stderr == ""
    for name in ("curves", "manifold", "reconstructions", "samples"):
        assert f"runs/r/figures/{name}.png" in result.stdout
    assert result.stdout.count("vaekit") == 3
    assert "nats per example" in result.stdout


def test_progress_goes_to_standard_error_in_plain_lines(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run(*TRAIN, "--json")
    assert json.loads(result.stdout)["status"] == "done"
    lines = result.stderr.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/2", "2/2"]
    assert all(word in lines[-1] for word in ("recon", "KL", "images/s", "validation"))
    assert "\r" not in result.stderr
    assert "\x1b" not in result.stderr


def test_a_loss_that_is_not_the_bound_is_told_beside_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for beta, told in (("1", False), ("50", True)):
        line = _run(*TRAIN, f"loss.beta={beta}").stderr.splitlines()[-1]
        train, validation = line.split("validation")
        assert ("loss" in train, "loss" in validation) == (told, told)


def test_what_takes_long_is_counted_on_standard_error(place: Path, monkeypatch) -> None:
    assert "importance" not in _run("evaluate", "runs/plain", "-k", "2").stderr
    monkeypatch.setattr("vaekit.progress._SECONDS_BETWEEN_LINES", 0.0)
    result = _run("evaluate", "runs/plain", "-k", "2", "-n", "150")
    said = [line for line in result.stderr.splitlines() if line.startswith("importance")]
    assert len(said) == 2
    assert said[-1] == "importance-weighted likelihood, examples: 150 of 150"
    assert "examples:" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "plain"],
        ["sample", "latest", "-n", "9", "--seed", "3", "--label", "7"],
        ["sample", "plain", "--draw", "--temperature", "0.5", "--output", "mine.png"],
        ["reconstruct", "latest"],
        ["reconstruct", "plain", "-n", "7"],
        ["interpolate", "latest", "0", "1"],
        ["interpolate", "plain", "0", "5", "--gif", "--steps", "4"],
    ],
    ids=" ".join,
)
def test_pictures(place: Path, arguments: list[str]) -> None:
    arguments = [f"runs/{a}" if a == "plain" else a for a in arguments]
    written = Path(_run(*arguments).stdout.strip())
    with Image.open(written) as picture:
        assert min(picture.size) > 30
    assert written.parent.name in ("figures", "")


def test_images_of_ones_own(place: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 30), (200, 10, 10)).save(tmp_path / "a.png")
    written = _run("reconstruct", "runs/plain", str(tmp_path / "a.png"), "--output", str(tmp_path / "r.png")).stdout.strip()
    assert Path(written).exists()
    _run("interpolate", "runs/plain", str(tmp_path / "a.png"), "3", "--output", str(tmp_path / "i.png"))
    assert (tmp_path / "i.png").exists()


def test_a_picture_that_cannot_be_written_is_one_error(place: Path) -> None:
    for output in ("foo.xyz", "runs", "/proc/x.png"):
        with pytest.raises(vaekit.ConfigError, match="cannot be written"):
            _run("sample", "runs/plain", "--output", output)


def test_a_run_cannot_have_data_put_where_it_says(place: Path) -> None:
    run = vaekit.Run("runs/plain")
    before = run.record
    run.note(source="mnist", data_root=str(place / "elsewhere"))
    try:
        with pytest.raises(vaekit.ConfigError, match="which is not there: give --data-root"):
            _run("reconstruct", "runs/plain")
    finally:
        run.note(**before)
    assert not (place / "elsewhere").exists()


def test_a_label_makes_no_folder(place: Path) -> None:
    path = Path("runs/labelled/model/config.json")
    before = path.read_text()
    config = json.loads(before)
    config["data"]["classes"][3] = "../../T-shirt/top"
    path.write_text(json.dumps(config))
    try:
        written = Path(_run("sample", "runs/labelled", "--label", "../../T-shirt/top").stdout.strip())
    finally:
        path.write_text(before)
    assert written.parent == Path("runs/labelled/figures")


def test_data_of_another_shape_are_refused(place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((30, 5, 5), dtype=np.uint8))
    with pytest.raises(vaekit.ShapeError, match=r"\(1, 5, 5\), this model takes \(1, 8, 8\)"):
        _run("evaluate", "runs/plain", f"npy:{tmp_path / 'x.npy'}")


def test_a_pseudo_likelihood_is_said_to_be_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    grey = [a for a in TRAIN if a != "binarize=dynamic"]
    result = _run(*grey, "--quiet", "--name", "grey")
    assert "pseudo-likelihood, no bound" in result.stdout
    assert "pseudo-likelihood" in json.loads(_run(*grey, "--json").stdout)["remark"]


def test_info_and_evaluate(place: Path) -> None:
    info = json.loads(_run("info", "runs/plain", "--json").stdout)
    assert info["config"]["latent"]["features"] == 2
    assert sum(info["parameters"].values()) == sum(p.numel() for p in vaekit.load("runs/plain").parameters())
    assert set(info["metrics"]) == {"train", "validation", "test"}
    assert "latent.features=2" in _run("info", "runs/plain/model").stdout
    numbers = json.loads(_run("evaluate", "runs/plain", "-k", "5", "--json").stdout)
    assert numbers["nelbo"] == pytest.approx(info["metrics"]["test"]["nelbo"], abs=1e-3)
    assert "± " in _run("evaluate", "latest", "-k", "2").stdout


def test_evaluating_writes_a_report_that_needs_no_other_file(place: Path, tmp_path: Path) -> None:
    said = _run("evaluate", "runs/plain", "-k", "2", "-n", "50")
    page = Path("runs/plain/report.html").read_text(encoding="utf-8")
    assert "report runs/plain/report.html" in said.stderr
    assert page.count("data:image/") == len(vaekit.Run("runs/plain").figures) > 2
    for line in said.stdout.splitlines():
        if line.startswith("- "):
            assert html.escape(line[2:]) in page
    assert "<h1>plain on digits</h1>" in page
    assert "&quot;latent&quot;: {" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert (
        "report" not in _run("evaluate", "runs/plain/model", "-k", "2", "-n", "5", "--report", str(tmp_path / "r.html")).stdout
    )
    assert (tmp_path / "r.html").is_file()
    with pytest.raises(vaekit.ConfigError, match=r"nowhere/r\.html cannot be written: No such file"):
        _run("evaluate", "runs/plain", "-k", "2", "-n", "5", "--report", "nowhere/r.html")


def test_evaluating_on_other_data(place: Path, tmp_path: Path) -> None:
    """Its report has a name of its own, and none of the pictures, which are of the data of the run."""
    np.savez(tmp_path / "half.npz", x=np.random.default_rng(0).integers(0, 255, (200, 8, 8), dtype=np.uint8))
    before = Path("runs/plain/report.html").read_bytes() if Path("runs/plain/report.html").exists() else None
    said = _run("evaluate", "runs/plain", f"npz:{tmp_path / 'half.npz'}", "-k", "2", "-n", "5")
    assert "report runs/plain/report-npz.html" in said.stderr
    assert "data:image/" not in Path("runs/plain/report-npz.html").read_text(encoding="utf-8")
    assert before is None or Path("runs/plain/report.html").read_bytes() == before


def test_a_pseudo_likelihood_is_evaluated_as_one(place: Path, tmp_path: Path) -> None:
    grey = [a for a in TRAIN if a != "binarize=dynamic"]
    _run(*grey, "--quiet", "--name", "pseudo")
    said = _run("evaluate", "runs/pseudo", "-k", "2", "-n", "5")
    assert "pseudo-likelihood, no bound" in said.stderr
    assert said.stdout.count("(of a pseudo-likelihood, no bound)") == 2
    assert "importance-weighted bound" not in said.stdout


def test_papers_say_how_many(place: Path) -> None:
    with pytest.raises(vaekit.ConfigError, match="--paper is k = 5,000 on the whole test set: leave out -k and -n"):
        _run("evaluate", "runs/plain", "--paper", "-k", "2")


def test_listings() -> None:
    assert "lstm" in _run("parts", "encoder").stdout
    assert "mlp" not in _run("parts", "encoder", "l*").stdout.replace("vaekit-", "")
    shown = _run("parts", "show", "encoder", "lstm").stdout
    assert "encoder.hidden = 128  (integer, 1 to 16384)" in shown
    assert {row["name"] for row in json.loads(_run("parts", "loss", "--json").stdout)} >= {"elbo"}
    assert "hidden" in json.loads(_run("parts", "show", "encoder", "lstm", "--json").stdout)["options"]
    plugins = {row["package"]: row for row in json.loads(_run("plugins", "--json").stdout)}
    assert plugins["vaekit-lstm"]["parts"] == ["encoder lstm", "decoder lstm"]
    assert "vaekit-lstm" in _run("plugins").stdout
    assert "folder:PATH" in _run("data").stdout
    assert json.loads(_run("data", "digits", "--json").stdout)["train"] == 1457
    assert "lstm-mnist" in _run("recipes").stdout
    assert json.loads(_run("recipes", "lstm-mnist").stdout)["source"] == "mnist"
    assert json.loads(_run("data", "--json").stdout)
    assert json.loads(_run("recipes", "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["train", "digits", "encoder=lsmt"],
            2,
            "error: unknown encoder 'lsmt'; did you mean 'lstm'? (installed: conv, lstm, mlp, ",
        ),
        (["train", "digit"], 2, "unknown dataset 'digit'; did you mean 'digits'?"),
        (["train"], 2, "no data: give the name of a data set, arrays, or a recipe"),
        (["train", "data=digits"], 2, "the data set is named alone: vaekit train digits"),
        (["train", "digits", "--device", "meta"], 2, "give auto, cpu, cuda"),
        (["train", "digits", "--device", "cdua"], 2, "error: no device 'cdua': give auto, cpu, cuda, cuda:1, mps or xpu\n"),
        (["train", "digits", "--device", "cuda:99"], 2, "error: no device 'cuda:99' here, where there is cpu"),
        (["train", "digits", "--memory-format", "none"], 2, "error: training: --memory-format: input should be 'auto'"),
        (["train", "digits", "--early-stop", "2", "--select", "last"], 2, "error: training: --early-stop waits for a better"),
        (["train", "digits", "--save-every", "0"], 2, "error: --save-every is 0.0: seconds are wanted"),
        (["train", "digits", "mnist"], 2, "two data sets: 'digits' and 'mnist'"),
        (["train", "digits", "encodr=lstm"], 2, "nothing is called 'encodr'; did you mean 'encoder'?"),
        (["train", "digits", "epochs=3"], 2, "'epochs' is an option: --epochs 3"),
        (["train", "digits", "--lr", "-1"], 2, "training: lr: input should be greater than 0"),
        (["train", "digits", "--epochs", "many"], 2, "--epochs"),
        (["train", "folder:nowhere"], 1, "no folder nowhere"),
        (["train", "folder"], 2, "takes a path: folder:PATH"),
        (["sample", "nowhere"], 1, "no folder nowhere"),
        (["info", "latest"], 1, "no run under ./runs yet"),
        (["parts", "encodr"], 2, "did you mean 'encoder'"),
        (["parts", "show", "encoder"], 2, "vaekit parts show KIND NAME"),
        (["resume", "nowhere"], 1, "nowhere is not a run"),
        (["recipes", "lstm-mnsit"], 2, "did you mean 'lstm-mnist'"),
        (["reconstruct"], 2, "Missing argument"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    from vaekit.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vaekit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert "http" not in told


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["recipes", "--json"]], ids=" ".join)
def test_an_output_that_takes_nothing_is_one_line_and_a_pipe_that_was_closed_none(arguments: list[str], buffered: bool) -> None:
    how = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    ours, theirs = os.pipe()
    os.close(ours)
    said = "error: the output cannot be written: No space left on device\n"
    for output, told in ((os.open("/dev/full", os.O_WRONLY), said), (theirs, "")):
        command = [sys.executable, "-m", "vaekit", *arguments]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False, env=how)
        os.close(output)
        assert (done.returncode, done.stderr) == (1, told)


def test_nobody_to_tell_of_an_error_leaves_its_exit_code() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "vaekit", "train", "two", "sets"], stderr=full, check=False)
    assert done.returncode == 2


def test_a_vaekit_that_the_shell_does_not_find_is_called_as_it_was(tmp_path: Path, monkeypatch) -> None:
    from vaekit.cli import show

    program = tmp_path / "bin" / "vaekit"
    program.parent.mkdir()
    program.touch(0o755)
    for path, typed, called in (
        ("", str(program), str(program)),
        ("", "bin/vaekit", "bin/vaekit"),
        (str(program.parent), str(program), "vaekit"),
        ("", "-c", "vaekit"),
        ("", "/somewhere/vaekit/__main__.py", "python -m vaekit"),
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", path)
        monkeypatch.setattr(sys, "argv", [typed])
        assert show.command() == called


def test_arguments_are_told_apart() -> None:
    asked = overrides.parse(
        ["latent.features=2", "folder:/a=b", "encoder=lstm", "encoder.dense=[1,2]", "data.resize=8", "grey=true"]
    )
    assert asked.source == "folder:/a=b"
    assert asked.parts == {"latent": {"features": 2}, "encoder": {"name": "lstm", "dense": [1, 2]}}
    assert asked.data == {"resize": 8, "grey": True}
    assert overrides.parse(["loss.beta=1e-11", "loss.normalize=dims"]).parts["loss"] == {"beta": 1e-11, "normalize": "dims"}
    assert overrides.parse(['loss={"name": "elbo", "beta": 2}']).parts["loss"] == {"name": "elbo", "beta": 2}
    assert overrides.parse(["encoder.name=lstm"]).parts["encoder"] == {"name": "lstm"}


def test_the_options_of_overrides_are_those_of_the_library() -> None:
    from vaekit.config import DEFAULTS
    from vaekit.data.transform import DataOptions
    from vaekit.training import TrainingOptions

    assert set(overrides.KINDS) == set(DEFAULTS)
    assert set(overrides.DATA) == set(DataOptions.model_fields)
    assert {o.replace("-", "_") for o in overrides.TRAINING} | {"seed"} == set(TrainingOptions.model_fields)


def test_version() -> None:
    assert _run("--version").stdout.strip() == f"vaekit {vaekit.__version__}"

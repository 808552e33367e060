"""`vaekit predict`, as people call it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner
from vaekit_runtime import Predictor
from vaekit_runtime.command import predict

APP = typer.Typer()
APP.command()(predict)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _call(*arguments: Any, code: int = 0) -> str:
    """What a call prints: results where it is well, else its one line of error."""
    done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    if not code:
        assert not done.stderr
        return done.stdout
    assert not done.stdout
    return done.stderr


def _picture(path: str = "a.png") -> str:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4), dtype=np.uint8)).save(path)
    return path


def _shown(path: str) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_samples_are_a_picture_by_default(make) -> None:
    made = make()
    assert _call(made.folder) == "sample-seed0.png\n"
    assert _shown("sample-seed0.png").shape == (429, 429)  # 64 images of 4 pixels and 7 lines between them, 11 times as large
    made = make("told", conditional=True)
    assert _call(made.folder / "decode.onnx", "-n", 3, "--label", "dog", "--seed", 5) == "sample-seed5-dog.png\n"
    tile = _shown("sample-seed5-dog.png")[::45, ::45][:4, :4]
    wanted = Predictor(made.folder).sample(3, "dog", seed=5)[0, 0]
    np.testing.assert_array_equal(tile, np.round(wanted * 255))


def test_samples_are_an_array_where_asked(make) -> None:
    made = make()
    assert _call(made.folder, "-n", 5, "--temperature", 0.5, "--seed", 3, "--output", "deep/s.npy") == "deep/s.npy\n"
    np.testing.assert_array_equal(np.load("deep/s.npy"), Predictor(made.folder).sample(5, temperature=0.5, seed=3))


def test_codes_are_printed_as_csv(make) -> None:
    made = make()
    np.save("more.npy", np.random.default_rng(0).random((3, 1, 4, 4), np.float32))
    said = _call(made.folder, _picture(), "more.npy", _picture("b.png"), "--batch-size", 2)
    header, *rows = csv.reader(io.StringIO(said))
    assert header == ["input", "z0", "z1", "z2"]
    assert [row[0] for row in rows] == ["a.png", "more.npy[0]", "more.npy[1]", "more.npy[2]", "b.png"]
    predictor = Predictor(made.folder)
    x = np.concatenate([predictor.image("a.png"), np.load("more.npy"), predictor.image("b.png")])
    np.testing.assert_allclose(np.array([row[1:] for row in rows], np.float32), predictor.encode(x), atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_codes_are_written_as_asked_whatever_the_batch(make, size) -> None:
    made = make(conditional=True)
    x = np.random.default_rng(0).random((7, 1, 4, 4), np.float32)
    np.savez("x.npz", x=x, y=np.zeros(7))
    wanted = Predictor(made.folder).encode(x, "dog")
    for output in ("codes.csv", "codes.json", "codes.npy"):
        asked = (made.folder, "x.npz", "--label", "dog", "--output", output, "--batch-size", size)
        assert _call(*asked) == f"{output}\n"
    np.testing.assert_allclose(np.load("codes.npy"), wanted, atol=1e-6)
    items = json.loads(Path("codes.json").read_text())
    assert items[6]["input"] == "x.npz[6]"
    np.testing.assert_allclose([item["code"] for item in items], wanted, atol=1e-6)
    rows = list(csv.reader(Path("codes.csv").read_text().splitlines()))[1:]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], np.float32), wanted, atol=1e-6)


def test_codes_are_decoded(make) -> None:
    made = make()
    z = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save("z.npy", z)
    assert _call(made.folder / "decode.onnx", "z.npy", "--output", "x.npy") == "x.npy\n"
    np.testing.assert_allclose(np.load("x.npy"), made.mean(z), atol=1e-6)
    assert _call(made.folder, "z.npy", "--what", "decode") == "decode.png\n"


def test_reconstructions_are_under_their_originals(make) -> None:
    made = make()
    assert _call(made.folder, _picture(), "--what", "reconstruct") == "reconstruct.png\n"
    shown = _shown("reconstruct.png")
    assert shown.shape == (405, 180)  # 4 and 4 pixels and a line, 45 times as large
    np.testing.assert_array_equal(shown[:180:45, ::45], _shown("a.png"))
    mean = Predictor(made.folder).reconstruct(Predictor(made.folder).image("a.png"))
    np.testing.assert_array_equal(shown[225::45, ::45], np.round(mean[0, 0] * 255))


def test_what_cannot_be_shown_is_written_as_an_array(make) -> None:
    assert _call(make(data_shape=(6,)).folder, "-n", 2) == "sample-seed0.npy\n"
    assert np.load("sample-seed0.npy").shape == (2, 6)
    said = _call(make(data_shape=(6,)).folder, "-n", 2, "--output", "s.png", code=2)
    assert "data of shape (6,) are written as .npy" in said


def test_a_file_that_is_there_is_written_over_but_no_input(make) -> None:
    made = make()
    Path("out.npy").write_text("old")
    _call(made.folder, "-n", 1, "--output", "out.npy")
    assert np.load("out.npy").shape == (1, 1, 4, 4)
    np.save("decode.npy", np.zeros((1, 3), np.float32))
    before = Path("decode.npy").read_bytes()
    said = _call(made.folder, "decode.npy", "--what", "decode", "--output", made.folder.parent / "decode.npy", code=2)
    assert "decode.npy is read, and so not written over: give another --output" in said
    assert Path("decode.npy").read_bytes() == before
    _picture("reconstruct.png")
    assert "not written over" in _call(made.folder, "reconstruct.png", "--what", "reconstruct", code=2)


def test_what_files_say_of_themselves(make) -> None:
    made = make(conditional=True, standard=False)
    said = _call(made.folder, "--info")
    for words in (
        "tiny",
        "mixture, 6 draws in prior.npz",
        "takes c",
        "(N, 1, 4, 4), from 0 to 1, shade",
        "from 0 to ∞",
        "cat, dog",
        "labels (2,), 2 classes",
    ):
        assert words in said
    assert json.loads(_call(made.folder, "--info", "--json"))["decode"] == made.document("decode")
    assert "takes z" not in _call(made.folder / "encode.onnx", "--info")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "there is no file or folder nowhere"),
        (["x.txt"], 1, "x.txt is no ONNX file"),
        (["E", "gone.png"], 1, "gone.png cannot be read: No such file"),
        (["E", "gone.npy"], 1, "gone.npy cannot be read: No such file"),
        (["E", "x.txt"], 1, "x.txt is no picture of a kind that is read here"),
        (["E", "text.npy"], 1, "text.npy is no .npy or .npz array of numbers: write it with numpy.save\n"),
        (["E", "pickle.npy"], 1, "pickle.npy is no .npy or .npz array of numbers: write it with numpy.save\n"),
        (["E", "nan.npy"], 1, "not finite"),
        (["E", "bytes.npy"], 2, "give x / 255"),
        (["E", "flat.npy"], 2, "x has shape (2, 4)"),
        (["E", "none.npy"], 2, "holds an array of shape (0, 1, 4, 4), which is no batch"),
        (["E", "two.npz"], 2, "two.npz holds a, b: name the one to read x"),
        (["E", "a.png", "--what", "decode"], 2, "a.png is no array: decode takes codes"),
        (["E", "a.png", "--what", "sample"], 2, "sample takes no inputs"),
        (["E", "--what", "encode"], 2, "encode needs inputs"),
        (["E/encode.onnx"], 2, "encode needs inputs"),
        (["E/encode.onnx", "a.png", "--what", "reconstruct"], 2, "decode needs decode.onnx"),
        (["E", "--what", "dream"], 2, "--what"),
        (["E", "-n", "0"], 2, "-n"),
        (["E", "a.png", "-n", "3"], 2, "-n is for sample, and this is encode"),
        (["E", "a.png", "--seed", "3"], 2, "--seed is for sample"),
        (["E", "a.png", "--temperature", "1"], 2, "--temperature is for sample"),
        (["E", "--temperature", "-1"], 2, "temperature is -1.0"),
        (["E", "--label", "cat"], 2, "takes no y"),
        (["E", "--json"], 2, "--json is for --info"),
        (["E", "--info", "a.png"], 2, "leave out INPUTS\n"),
        (["E", "--info", "--what", "sample", "-n", "4"], 2, "leave out --what, -n\n"),
        (["E", "--info", "--label", "0", "--temperature", "1"], 2, "leave out --label, --temperature\n"),
        (["E", "--info", "--json", "--seed", "0", "--output", "o.json"], 2, "leave out --seed, --output\n"),
        (["E", "--output", "codes.csv"], 2, "codes.csv cannot be written: images are written as .png or .npy"),
        (["E", "a.png", "--output", "codes.png"], 2, "codes are written as .csv or .json or .npy"),
        (["E", "--output", "x.txt/s.png"], 2, "x.txt/s.png cannot be written"),
        (["E", "--threads", "0"], 2, "--threads"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(make, arguments, code, words) -> None:
    folder = make().folder
    _picture()
    Path("x.txt").write_text("text")
    Path("text.npy").write_text("text")
    np.save("pickle.npy", np.array([{}], object))
    np.save("nan.npy", np.full((1, 1, 4, 4), np.nan, np.float32))
    np.save("bytes.npy", np.zeros((1, 1, 4, 4), np.uint8))
    np.save("flat.npy", np.zeros((2, 4), np.float32))
    np.save("none.npy", np.zeros((0, 1, 4, 4), np.float32))
    np.savez("two.npz", a=np.zeros(1), b=np.zeros(1))
    said = _call(*[str(a).replace("E", str(folder)) if a.startswith("E") else a for a in arguments], code=code)
    assert words in said
    assert "Traceback" not in said
    if not said.startswith("Usage"):
        assert said.startswith("error: ")
        assert said.count("\n") == 1


def _program(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_neither_torch_nor_vaekit_is_imported(make) -> None:
    _picture()
    done = _program(
        """
import sys
import vaekit_runtime, vaekit_runtime.command
early = {"numpy", "onnxruntime", "PIL", "torch", "vaekit"} & set(sys.modules)
try:
    vaekit_runtime.command.main()
except SystemExit as stopped:
    print(stopped.code, sorted(early), sorted({"torch", "vaekit", "onnx", "PIL"} & set(sys.modules)))
""",
        make().folder,
        "a.png",
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0 [] ['PIL']"


def test_help_and_errors_of_the_program(tmp_path) -> None:
    program = "from vaekit_runtime.command import main; main()"
    assert "--temperature" in _program(program, "-h").stdout
    done = _program(program, "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no file or folder nowhere")


def test_every_public_name_is_there() -> None:
    import vaekit_runtime

    for name in vaekit_runtime.__all__:
        assert getattr(vaekit_runtime, name).__name__ == name
    assert set(dir(vaekit_runtime)) >= set(vaekit_runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Predicter'"):
        _ = vaekit_runtime.Predicter

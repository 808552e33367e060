"""What an exported model gains over torch: the start of a process, images a second, and what fewer bits cost.

    python tests/benchmarks/predicting.py --data-root FOLDER [--work FOLDER] [--epochs 1] [--rounds 7] [--only start,speed,size]

Three models of MNIST are trained for a short time and exported, or taken from the work folder where they are there already. All
that is compared takes turns, round by round, and the medians are printed; each round of a speed lasts a tenth of a second or
one call. `vaekit` is VAE.encode and VAE.decode; `bare` is the model's modules alone, as x to the code and z to the mean, in
inference mode; `runtime` is vaekit_runtime.Predictor, which checks its inputs as `vaekit` does.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vaekit_runtime import Predictor

import vaekit
from vaekit import export, inputs

GRID = {"encoder": "conv", "decoder": "transposed-conv"}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"encoder": {"hidden": [512, 256]}, "decoder": {"hidden": [256, 512]}},
    "conv": GRID,
    "lstm": {"encoder": {"name": "lstm", "hidden": 128}, "decoder": {"name": "lstm", "hidden": 128}},
}
PRECISIONS = ("float32", "float16", "int8")
BATCHES = (1, 64, 512)
THREADS = (1, 2)
SECONDS = 0.1
REST = 0.02
"""Seconds of pause before each measurement, in which threads of the last one stop waiting for more."""
PROGRAMS = {
    "vaekit-predict decode.onnx -n 16": "from vaekit_runtime.command import main; main()",
    "Predictor(...).sample(16)": "from vaekit_runtime import Predictor; Predictor({onnx!r}, 1).sample(16)",
    "vaekit.load(...).sample(16)": "import vaekit, torch; torch.set_num_threads(1); vaekit.load({model!r}).sample(16)",
}
"""What starts, until it has an answer."""


def made(work: Path, data_root: str | None, epochs: int) -> dict[str, Path]:
    """A folder for each model, with the model and its exported files in every precision."""
    folders = {name: work / name for name in MODELS}
    for name, folder in folders.items():
        if not (folder / "model").is_dir():
            dynamic = {"binarize": "dynamic"}
            run = vaekit.fit(
                "mnist",
                data_root=data_root,
                data_options=dynamic,
                output=work / "runs",
                name=name,
                epochs=epochs,
                **MODELS[name],
            )
            run.model.save(folder / "model")
        model = vaekit.load(folder / "model")
        for precision in PRECISIONS:
            if not (folder / precision).is_dir():
                export.write(model, folder / precision, precision=precision, name=name)
    return folders


def starts(folders: dict[str, Path], rounds: int) -> None:
    """Print how long processes take until they have an answer."""
    print(f"\nfrom the start of a process to its end, milliseconds, medians and (least) of {rounds}\n")
    print(f"{'model':6}{'':36}{'wall':>14}{'CPU':>14}")
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{scratch}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name, folder in folders.items():
            decode, model = str(folder / "float32/decode.onnx"), str(folder / "model")
            commands = {
                title: [sys.executable, "-c", code.format(onnx=decode, model=model), decode, "-n", "16", "--threads", "1"]
                for title, code in PROGRAMS.items()
            }
            taken: dict[str, list[tuple[float, float]]] = {title: [] for title in commands}
            for _ in range(1 + rounds):  # the first writes bytecode
                for title, command in commands.items():
                    taken[title].append(_whole(command, environment, scratch))
            for title, each in taken.items():
                wall, cpu = (sorted(1000 * end for end in ends) for ends in zip(*each[1:], strict=True))
                ends = "".join(f"{f'{statistics.median(end):.0f} ({end[0]:.0f})':>14}" for end in (wall, cpu))
                print(f"{name:6}{title:36}{ends}")


def _whole(command: list[str], environment: dict[str, str], folder: str) -> tuple[float, float]:
    wall, before = time.perf_counter(), os.times()
    subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - wall, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def speeds(folders: dict[str, Path], data: np.ndarray, rounds: int) -> None:
    """Print images a second."""
    print(f"\nimages a second, medians of {rounds}; and how many times as many as bare torch\n")
    print(f"{'model':6}{'part':8}{'threads':>8}{'batch':>7}{'vaekit':>10}{'bare':>10}{'runtime':>10}{'times':>7}")
    for name, folder in folders.items():
        model = vaekit.load(folder / "model")
        for threads in THREADS:
            torch.set_num_threads(threads)
            predictor = Predictor(folder / "float32", threads)
            for part in ("decode", "encode"):
                for batch in BATCHES:
                    given = data[:batch] if part == "encode" else predictor.encode(data[:batch])
                    medians = _medians(dict(_calls(model, predictor, part, given)), batch, rounds)
                    times = medians["runtime"] / medians["bare"]
                    figures = "".join(f"{medians[way]:10,.0f}" for way in ("vaekit", "bare", "runtime"))
                    print(f"{name:6}{part:8}{threads:8}{batch:7}{figures}{times:7.2f}", flush=True)
    torch.set_num_threads(1)


def _calls(model: vaekit.VAE, predictor: Predictor, part: str, given: np.ndarray) -> Iterator[tuple[str, Callable[[], object]]]:
    tensor = torch.from_numpy(given)
    c = model.context(None, len(tensor))
    model.eval()

    def bare() -> object:
        with torch.inference_mode():
            if part == "decode":
                return model.likelihood(model.decoder(tensor, c)).mean
            return model.latent.code(model.encoder(tensor, c), c)

    yield "vaekit", lambda: getattr(model, part)(tensor)
    yield "bare", bare
    yield "runtime", lambda: getattr(predictor, part)(given)


def _medians(calls: dict[str, Callable[[], object]], batch: int, rounds: int) -> dict[str, float]:
    found: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(1 + rounds):  # the first warms up
        for way, call in calls.items():
            time.sleep(REST)
            done, start = 0, time.perf_counter()
            while (taken := time.perf_counter() - start) < SECONDS or not done:
                call()
                done += 1
            found[way].append(done * batch / taken)
    return {way: statistics.median(each[1:]) for way, each in found.items()}


def sizes(folders: dict[str, Path], data: np.ndarray, rounds: int) -> None:
    """Print what files of fewer bits cost and save."""
    print(f"\nfiles, and differences of codes and means from the model's on {len(data):,} test images, greatest and rms;")
    print("images a second on one thread in batches of 64\n")
    heads = ("encode kB", "decode kB", "code", "rms", "mean", "rms", "encode/s", "decode/s")
    print(f"{'model':6}{'':9}{''.join(f'{head:>10}' for head in heads)}")
    for name, folder in folders.items():
        model = vaekit.load(folder / "model")
        z = model.encode(data).numpy()
        x = model.decode(z).numpy()
        predictors = {precision: Predictor(folder / precision, 1) for precision in PRECISIONS}
        encode = _medians({p: partial(each.encode, data[:64]) for p, each in predictors.items()}, 64, rounds)
        decode = _medians({p: partial(each.decode, z[:64]) for p, each in predictors.items()}, 64, rounds)
        for precision, predictor in predictors.items():
            kilobytes = [(folder / precision / f"{part}.onnx").stat().st_size / 1000 for part in ("encode", "decode")]
            off = (*_off(predictor.encode(data), z), *_off(predictor.decode(z), x))
            speed = (encode[precision], decode[precision])
            figures = [*(f"{n:10,.0f}" for n in kilobytes), *(f"{n:10.1e}" for n in off), *(f"{n:10,.0f}" for n in speed)]
            print(f"{name:6}{precision:9}{''.join(figures)}", flush=True)


def _off(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """The greatest absolute difference, and the root of the mean square."""
    difference = np.abs(found - wanted)
    return float(difference.max()), float(np.sqrt(np.square(difference).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("VAEKIT_DATA"), help="where MNIST is  [env: VAEKIT_DATA]")
    parser.add_argument("--work", type=Path, default=Path("runs/predicting"), help="where the models are kept")
    parser.add_argument("--epochs", type=int, default=1, help="to train each  [default: 1]")
    parser.add_argument("--rounds", type=int, default=7, help="of each measurement  [default: 7]")
    parser.add_argument("--only", default="start,speed,size", help="which tables  [default: %(default)s]")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folders = made(asked.work.resolve(), asked.data_root, asked.epochs)
    model = next(iter(folders.values())) / "model"
    test, _ = inputs.examples_of(str(model), vaekit.load(model), root=asked.data_root)
    data = np.asarray(test.x[:1000], np.float32) / 255
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    tables = {
        "start": lambda: starts(folders, asked.rounds),
        "speed": lambda: speeds(folders, data, asked.rounds),
        "size": lambda: sizes(folders, data, asked.rounds),
    }
    for table in asked.only.split(","):
        tables[table]()


if __name__ == "__main__":
    main()

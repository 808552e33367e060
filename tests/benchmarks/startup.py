"""How long vaekit takes to start: its import, its help, and the first model that a process loads.

    python tests/benchmarks/startup.py [--runs N] [MODEL ...]

Each run is a process of its own. Bytecode is kept in a folder for this program alone, as pip would leave it, whatever the
environment says of bytecode; the first run of each, which writes it, is not counted. Without a MODEL two are made: dense layers
with a million parameters, and a convolutional one that is told a class.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

IMPORT, HELP, LOAD = 0.06, 0.3, 0.1
"""Seconds that each may take at best."""

MODELS: dict[str, dict[str, Any]] = {
    "dense": {"encoder": {"hidden": [512, 256]}, "decoder": {"hidden": [256, 512]}},
    "convolutional": {
        "context": {"name": "labels", "classes": 10},
        "prior": "conditional",
        "encoder": "conv",
        "decoder": "transposed-conv",
    },
}
CLOCKED = """
import time
{before}
wall, cpu = time.perf_counter(), time.process_time()
{what}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


class Took(NamedTuple):
    """Seconds of one run.

    Args:
        wall: by the clock.
        cpu: of the processor, for the program and for the system.
    """

    wall: float
    cpu: float


class Case(NamedTuple):
    """Something to be timed.

    Args:
        name: of it.
        most: seconds that it may take at best.
        before: what is imported before the clock starts; None to time a whole process.
        what: the code; for a whole process, the arguments of `vaekit`.
    """

    name: str
    most: float
    before: str | None
    what: str


def once(case: Case, environment: dict[str, str]) -> Took:
    """One run in a fresh process."""
    if case.before is None:
        return whole([sys.executable, "-c", "from vaekit.cli import main; main()", case.what], environment)
    code = CLOCKED.format(before=case.before, what=case.what)
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Took(*map(float, done.stdout.split()))


def whole(command: list[str], environment: dict[str, str]) -> Took:
    """A process from its start to its end."""
    wall, before = time.perf_counter(), os.times()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - wall, os.times()
    used = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return Took(wall, used)


def cases(models: list[str]) -> Iterator[Case]:
    """What is timed."""
    yield Case("import vaekit; vaekit.VAE, after torch", IMPORT, "import torch", "import vaekit; vaekit.VAE")
    yield Case("vaekit --help", HELP, None, "--help")
    for model in models:
        yield Case(f"vaekit.load of {Path(model).name}", LOAD, "import vaekit; vaekit.VAE", f"vaekit.load({model!r})")


def made(folder: Path) -> list[str]:
    """The folders of the models to load where none is given."""
    import vaekit

    for name, parts in MODELS.items():
        model, _ = vaekit.build({"data_shape": (1, 28, 28), **parts})
        model.save(folder / name)
    return [str(folder / name) for name in MODELS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="*", help="a model folder")
    parser.add_argument("--runs", type=int, default=7, help="of each, besides the first  [default: 7]")
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {asked.runs} runs, milliseconds")
    print(f"{'':44}{'at most':>8}{'wall':>7}{'median':>8}{'CPU':>7}{'median':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{scratch}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for case in cases(asked.models or made(Path(scratch))):
            wall, cpu = zip(*[once(case, environment) for _ in range(1 + asked.runs)][1:], strict=True)
            ends = [1000 * end for end in (min(wall), statistics.median(wall), min(cpu), statistics.median(cpu))]
            print(f"{case.name:44}{1000 * case.most:8.0f}{ends[0]:7.0f}{ends[1]:8.0f}{ends[2]:7.0f}{ends[3]:8.0f}")


if __name__ == "__main__":
    main()

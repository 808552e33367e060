"""Global state: what changed is said and put back, each thing alone; in this very process, which is none the worse for it."""

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from timeit import repeat
from typing import Any

import numpy as np
import pytest
import torch
from torch.backends import cudnn
from torch.distributions import Distribution

from vaekit.ambient import Ambient


@pytest.fixture(autouse=True)
def _unharmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back by other means what a test changes, were `restore` to fail."""
    monkeypatch.chdir(Path.cwd())
    for name in ("stdout", "stderr", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    for flag in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        monkeypatch.setattr(cudnn, flag, getattr(cudnn, flag))
    before = [
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_default_device, None),
        (torch.set_grad_enabled, True),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        (torch.set_deterministic_debug_mode, 0),
        (torch.set_anomaly_enabled, False),
        (lambda enabled: torch.set_autocast_enabled("cpu", enabled), False),
        (lambda dtype: torch.set_autocast_dtype("cpu", dtype), torch.get_autocast_dtype("cpu")),
        (torch.set_num_threads, torch.get_num_threads()),
        (Distribution.set_default_validate_args, Distribution._validate_args),
        (np.random.set_state, np.random.get_state()),
        (random.setstate, random.getstate()),
        (lambda handling: np.seterr(**handling), np.geterr()),
        (logging.disable, logging.root.manager.disable),
    ]
    handler = signal.getsignal(signal.SIGINT)
    yield
    for put_back, value in before:
        put_back(value)
    signal.signal(signal.SIGINT, handler)


def _another_thread_count() -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        "torch's default dtype is torch.float64, was torch.float32",
    ),
    "device": (lambda: torch.set_default_device("meta"), "torch's default device is meta, was not set"),
    "gpu": (lambda: torch.set_default_device("cuda"), "torch's default device is cuda, was not set"),
    "grad": (lambda: torch.set_grad_enabled(False), "torch's recording of gradients is off, was on"),
    "matmul": (
        lambda: torch.set_float32_matmul_precision("medium"),
        "torch's float32 matmul precision is medium, was highest",
    ),
    "deterministic": (
        lambda: torch.set_deterministic_debug_mode("error"),
        "torch's use of deterministic algorithms is on, was off",
    ),
    "deterministic-warn": (
        lambda: torch.set_deterministic_debug_mode("warn"),
        "torch's use of deterministic algorithms is on with warnings, was off",
    ),
    "anomaly": (lambda: torch.autograd.set_detect_anomaly(True), "torch's anomaly mode is on, was off"),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "torch's autocast on the CPU is on, was off"),
    "autocast-entered": (lambda: torch.autocast("cpu").__enter__(), "torch's autocast on the CPU is on, was off"),
    "autocast-dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        "the dtype of torch's autocast on the CPU is torch.float16, was torch.bfloat16",
    ),
    "threads": (_another_thread_count, "torch's number of threads is {more}, was {threads}"),
    "cudnn": (lambda: setattr(cudnn, "enabled", False), "torch.backends.cudnn.enabled is off, was on"),
    "benchmark": (lambda: setattr(cudnn, "benchmark", True), "torch.backends.cudnn.benchmark is on, was off"),
    "cudnn-deterministic": (
        lambda: setattr(cudnn, "deterministic", True),
        "torch.backends.cudnn.deterministic is on, was off",
    ),
    "tf32": (lambda: setattr(cudnn, "allow_tf32", False), "torch.backends.cudnn.allow_tf32 is off, was on"),
    "validation": (
        lambda: Distribution.set_default_validate_args(False),
        "torch.distributions' validation of arguments is off, was on",
    ),
    "torch-seed": (lambda: torch.manual_seed(7), "the state of torch's random generator is another"),
    "torch-draw": (lambda: torch.rand(1), "the state of torch's random generator is another"),
    "numpy-seed": (lambda: np.random.seed(7), "the state of NumPy's random generator is another"),
    "numpy-draw": (lambda: np.random.rand(), "the state of NumPy's random generator is another"),
    "python-seed": (lambda: random.seed(7), "the state of Python's random generator is another"),
    "python-draw": (random.random, "the state of Python's random generator is another"),
    "numpy-errors": (
        lambda: np.seterr(all="raise"),
        "NumPy's handling of floating-point errors is divide raise, over raise, under raise, invalid raise, "
        "was divide warn, over warn, under ignore, invalid warn",
    ),
    "directory": (lambda: os.chdir("/"), "the working directory is /, was {directory}"),
    "stdout": (lambda: setattr(sys, "stdout", sys.stderr), "sys.stdout is another"),
    "stderr": (lambda: setattr(sys, "stderr", None), "sys.stderr is another"),
    "excepthook": (lambda: setattr(sys, "excepthook", print), "sys.excepthook is another"),
    "logging": (logging.disable, "the level of logging.disable is CRITICAL, was NOTSET"),
    "sigint": (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), "the handler of SIGINT is another"),
    "warnings": (
        lambda: warnings.simplefilter("ignore"),
        "the filter of all warnings is ignore, was not set",
    ),
    "warnings-at-the-end": (
        lambda: warnings.filterwarnings("ignore", append=True),
        "the filter of all warnings is ignore, was not set",
    ),
    "warnings-are-errors": (
        lambda: warnings.simplefilter("error"),
        "the filter of all warnings is error, was not set",
    ),
    "warnings-both": (
        lambda: (warnings.simplefilter("error"), warnings.simplefilter("always")),
        "the filter of all warnings is always before error, was not set",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_said_and_put_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_float32_matmul_precision("highest")
    threads = torch.get_num_threads()
    change, said = CHANGES[name]
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        before, filters = Ambient.now(), list(warnings.filters)
        assert before.changes() == []
        change()
        assert before.changes() == [said.format(directory=tmp_path, threads=threads, more=threads + 1)]
        before.restore()
        assert before.changes() == []
        assert warnings.filters == filters
    assert Ambient.now().changes() == []


def test_several_changes_are_put_back_at_once() -> None:
    before = Ambient.now()
    drawn = torch.rand(3), np.random.rand(3), random.random()
    torch.set_default_dtype(torch.float64)
    assert len(before.changes()) == 4
    before.restore()
    again = torch.rand(3), np.random.rand(3), random.random()
    assert torch.equal(drawn[0], again[0])
    assert (drawn[1] == again[1]).all()
    assert drawn[2] == again[2]


@pytest.mark.parametrize(
    ("change", "changes"), [("random", 0), ("random.default_rng(7).random()", 0), ("random.seed(7)", 1), ("random.rand()", 1)]
)
def test_numpys_generator_is_watched_before_it_is_imported(change: str, changes: int, python) -> None:
    code = f"""
import sys, numpy
from vaekit.ambient import Ambient
before = Ambient.now()
assert 'numpy.random' not in sys.modules and before.changes() == []
numpy.{change}
said = before.changes()
before.restore()
assert before.changes() == []
numpy.random.rand()
print(len(said), before.changes())
"""
    assert python(code) == f'{changes} ["the state of NumPy\'s random generator is another"]'


def test_what_libraries_do_on_import_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        before = Ambient.now()
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="narrow")
        monkeypatch.setenv("A_LIBRARY", "1")
        assert before.changes() == []


def test_filters_are_put_back_and_narrow_ones_that_were_added_stay() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        before, (user, every) = Ambient.now(), warnings.filters
        warnings.simplefilter("error")
        assert before.changes() == []
        warnings.resetwarnings()
        warnings.simplefilter("ignore", ResourceWarning)
        resource = warnings.filters[0]
        assert before.changes() == ["the filter of all warnings is not set, was error"]
        before.restore()
        assert warnings.filters == [resource, user, every]
        warnings.simplefilter("ignore")
        assert before.changes() == ["the filter of all warnings is ignore before error, was error"]
        before.restore()
        assert warnings.filters == [resource, user, every]


def test_warnings_are_seen_again_after_restoring() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = Ambient.now()
        warnings.simplefilter("ignore")
        warnings.warn("unseen", stacklevel=1)
        before.restore()
        warnings.warn("seen", stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["seen"]


def test_a_replaced_stream_that_is_put_back_closes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A wrapper that is thrown away closes the stream that it wraps."""
    code = """
import io, sys
from vaekit.ambient import Ambient
before = Ambient.now()
sys.stdout = io.TextIOWrapper(sys.stdout.buffer)
before.restore()
print("open")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().out == "open\n"


def test_the_default_of_a_context_is_not_a_change() -> None:
    before = Ambient.now()
    with torch.device("meta"):
        assert before.changes() == []
        inside = Ambient.now()
        torch.set_default_device("cpu")
        assert inside.changes() == ["torch's default device is cpu, was not set"]
        inside.restore()
        assert torch.empty(1).is_meta
    assert before.changes() == []


def test_settings_that_torch_does_not_tell() -> None:
    """Where its old and its new names for a setting are mixed, asking for one is an error."""
    code = """
import torch
from vaekit.ambient import Ambient
before = Ambient.now()
torch.backends.fp32_precision = "tf32"
print(before.changes())
before.restore()
print(before.changes())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == """["torch's float32 matmul precision is unreadable, was highest"]\n[]\n"""


def test_a_directory_that_is_gone_cannot_be_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    before = Ambient.now()
    os.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    before.restore()
    assert before.changes() == [f"the working directory is {tmp_path}, was {tmp_path / 'gone'}"]


def test_a_directory_that_was_gone_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    before = Ambient.now()
    os.chdir(tmp_path)
    assert before.changes() == []


def test_the_handler_of_sigint_is_that_of_the_main_thread() -> None:
    said = []

    def look() -> None:
        before = Ambient.now()
        before.restore()
        said.extend(before.changes())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == []


def test_it_is_quick_and_leaves_cuda_alone() -> None:
    before = Ambient.now()
    assert min(repeat(lambda: (Ambient.now(), before.changes()), number=1, repeat=20)) < 0.001
    assert not torch.cuda.is_initialized()

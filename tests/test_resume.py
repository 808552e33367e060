"""Runs that are killed, find no space or come to harm go on as if they had never stopped; or one line says why they cannot.

Run as a program, this module is the parent of what is killed: it has imported torch and vaekit, has computed nothing, and
forks a child for each request.
"""

import ctypes
import errno
import gzip
import hashlib
import http.server
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaekit
import vaekit.data.prepare
from vaekit import checkpoint, figures, fitting, io, plugins, resuming, runs
from vaekit.cli import main
from vaekit.job import Job
from vaekit.loading import Plugin
from vaekit.recipes import Recipe
from vaekit.trainer import Trainer


class Rivals(vaekit.Loss):
    """An ELBO and a critic that plays against it, ever more so: how much is counted in a buffer."""

    name = "rivals"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.critic = nn.Linear(root.shape[0], 1)
        self.count: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters()), "critic": list(self.critic.parameters())}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        trace = model(x, c)
        score = self.critic(trace.draw.z[0]).mean()
        if player == "critic":
            return vaekit.Terms(-score, {"score": score.detach()})
        if self.training:
            self.count += 1
        elbo = trace.elbo().mean()
        return vaekit.Terms(self.count / 100 * score - elbo, {"score": score.detach()})


SMALL: dict[str, Any] = {"latent": {"features": 2}, "data_options": {"binarize": "dynamic"}, "batch_size": 16}
DENSE: dict[str, Any] = {"encoder": {"hidden": [16]}, "decoder": {"hidden": [16]}}
CONV = {"width": 4, "depth": 1}
ABOUT: dict[str, dict[str, Any]] = {
    "short": {**SMALL, **DENSE, "epochs": 3, "lr": 1e-2},
    "shorter": {**SMALL, **DENSE, "epochs": 2, "lr": 1e-2},
    "mlp": {**SMALL, **DENSE, "epochs": 20, "lr": 0.3, "schedule": "one-cycle", "early_stop": 4},
    "conv": {
        **SMALL,
        "encoder": {"name": "conv", **CONV},
        "decoder": {"name": "transposed-conv", **CONV},
        "epochs": 8,
        "optimizer": "rmsprop",
        "accumulate": 2,
        "precision": "bf16",
        "memory_format": "channels_last",
    },
    "rivals": {**SMALL, **DENSE, "loss": "rivals", "epochs": 8, "lr": 1e-2},
}


def _data(about: str) -> Any:
    """Three patterns with noise: something to learn for many epochs."""
    n, shape = (75, (6,)) if about.startswith("short") else (150, (8, 8))
    draw = np.random.default_rng(0)
    x = 0.8 * draw.integers(0, 2, (3, *shape))[np.arange(n) % 3] + 0.2 * draw.random((n, *shape))
    return x.astype(np.float32) if about.startswith("short") else (x * 255).astype(np.uint8)


# What a child does, in a process of its own.


def fit(run: str, about: str, save_every: float = 10.0, **more: Any) -> str:
    path = Path(run)
    given = {**ABOUT[about], **more}
    return fitting.fit(_data(about), **given, output=path.parent, name=path.name, progress=False, save_every=save_every).status


def resume(run: str, about: str, save_every: float = 1e-9, **more: Any) -> str:
    return resuming.resume(run, data=_data(about), progress=False, save_every=save_every, **more).status


def go_on(run: str, about: str) -> str:
    """Continue a run as often as it is killed, or begin it again where it was killed before it could say what it is of."""
    if (Path(run) / "run.json").exists():
        return resume(run, about)
    if Path(run).exists():
        assert all(path.name.startswith(".run.json.") for path in Path(run).iterdir())
        shutil.rmtree(run)
    return fit(run, about, 1e-9)


def write_states(folder: str, steps: list[int], call: int, when: str) -> int:
    """Write states one after the other, and die before or after so many system calls of the last one; how many it takes."""
    for n, step in enumerate(steps[:-1]):
        checkpoint.write(Path(folder), _state(step, n))
    calls = itertools.count(1)

    def deadly(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            last = next(calls) == call
            if last and when == "before":
                os._exit(9)
            try:
                return original(*args, **options)
            finally:
                if last:
                    os._exit(9)

        return counted

    for name in ("mkdir", "open", "fsync", "rename", "unlink", "rmdir"):
        setattr(os, name, deadly(getattr(os, name)))
    checkpoint.write(Path(folder), _state(steps[-1], len(steps) - 1))
    return next(calls) - 1


def without_space(run: str, about: str, at: str, nth: int, room: str) -> dict[str, Any]:
    """Continue a run on a file system that is filled up at a moment; then make space, and continue it there."""
    _mount(b"tmpfs", room, b"tmpfs", 0, b"size=4m")
    there, ballast = shutil.copytree(run, Path(room) / "r"), Path(room) / "ballast"

    def fill(_: str) -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 (it is the end of the loop)

    kept = checkpoint.read(there / "checkpoints")
    _AT[at, nth] = fill
    try:
        resume(str(there), about)
        said = ""
    except vaekit.VaekitError as error:
        said = f"{type(error).__name__}: {error}"
    left = checkpoint.read(there / "checkpoints")
    assert kept is not None
    assert left is not None
    ballast.unlink()
    resume(str(there), about)
    shutil.copytree(there, f"{run}-after")
    return {"said": said, "before": kept[1]["steps"], "after": left[1]["steps"]}


def failing_syncs(run: str, about: str, nth: int) -> str:
    """Continue a run for which there is no space at the nth file that is made sure of."""
    calls, original = itertools.count(1), os.fsync

    def fsync(descriptor: int) -> None:
        if next(calls) >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    os.fsync = fsync
    return resume(run, about)


def resume_read_only(run: str, about: str, folder: str) -> str:
    """Continue a run of which a folder cannot be written."""
    path = Path(run) / folder
    if os.geteuid():
        path.chmod(0o555)
    else:
        _mount(str(path).encode(), str(path), b"", _BIND)
        _mount(b"", str(path), b"", _BIND | _REMOUNT | _READ_ONLY)
    return resume(run, about)


def resume_elsewhere(run: str, about: str, moments: list[str]) -> dict[str, int]:
    """Continue a run where torch is told to compute on two threads; how many it does compute on at some moments."""
    torch.set_num_threads(2)
    found: dict[str, int] = {}

    def note(moment: str) -> None:
        found[moment] = torch.get_num_threads()

    for moment in moments:
        _AT[moment, 1] = note
    resume(run, about)
    return found


def resume_upgraded(run: str, about: str) -> str:
    """Continue a run with another version of vaekit."""
    found = plugins.Plugins([replace(p, version="9.9") if p.package == "vaekit" else p for p in plugins.plugins().all])
    plugins._loaded = plugins._own = lambda: found
    return resume(run, about)


def command(arguments: list[str], folder: str) -> None:
    os.chdir(folder)
    sys.argv = ["vaekit", *arguments]
    main()


_READ_ONLY, _REMOUNT, _BIND, _PRIVATE, _NEW_NAMESPACE = 1, 32, 4096, 0x44000, 0x20000


def _mount(source: bytes, target: str, kind: bytes, flags: int, data: bytes = b"") -> None:
    """Mount something for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACE) or libc.mount(b"none", b"/", None, _PRIVATE, None):
        raise PermissionError("nothing can be mounted here")
    if libc.mount(source, target.encode(), kind, flags, data):
        raise PermissionError(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")


def _state(step: int, n: int) -> checkpoint.State:
    return {"weights": torch.full((1000,), float(n))}, {"steps": step, "n": n}


_AT: dict[tuple[str, int], Callable[[str], None]] = {}
"""What to do in this child at a moment that it comes to for the nth time."""


def _watch(tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell when the parts of a run begin and end."""
    seen: Counter[str] = Counter()

    def at(moment: str) -> None:
        seen[moment] += 1
        tell({"moment": moment, "time": time.monotonic()})
        _AT.get((moment, seen[moment]), lambda _: None)(moment)

    def watched(original: Callable[..., Any], moment: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            at(moment)
            result = original(*args, **options)
            at(f"after {moment}")
            return result

        return call

    for owner, name, moment in _PARTS:
        setattr(owner, name, watched(getattr(owner, name), moment))
    at("start")


_PARTS: list[tuple[Any, str, str]] = [
    (runs.Run, "note", "record"),
    (runs.Run, "log", "row"),
    (runs.Run, "cut", "cut"),
    (Trainer, "_batch", "step"),
    (Trainer, "_validated", "validation"),
    (checkpoint, "write", "checkpoint"),
    (io, "save", "model"),
    (Job, "_finish", "end"),
    (figures, "write", "figures"),
]


def _die(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _child(into: int, request: dict[str, Any]) -> None:
    def tell(what: dict[str, Any]) -> None:
        os.write(into, json.dumps(what).encode() + b"\n")

    signal.alarm(200)
    checkpoint._SHARE = 0
    if request["die"]:
        _AT[tuple(request["die"])] = _die
    _watch(tell)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            tell({"result": globals()[request["act"]](**request["arguments"])})
        except vaekit.VaekitError as error:
            tell({"error": f"{type(error).__name__}: {error}"})
        except BaseException:
            tell({"error": traceback.format_exc()})
    tell({"warnings": [str(warning.message) for warning in warned]})
    os._exit(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        _child(into, request)
    os.close(into)
    told: dict[str, Any] = {"moments": []}
    kill, seen = request["kill"], Counter[str]()
    with os.fdopen(out) as pipe:
        for line in pipe:
            what = json.loads(line)
            if "moment" not in what:
                told |= what
                continue
            told["moments"].append((what["moment"], what["time"]))
            seen[what["moment"]] += 1
            if kill and (what["moment"], seen[what["moment"]]) == (kill["at"], kill["nth"]):
                time.sleep(kill["seconds"])
                os.kill(child, signal.SIGKILL)
    return {**told, "ended": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def _serve() -> None:
    torch.set_num_threads(1)
    for slow in ("torch._dynamo", "matplotlib.backends.backend_agg"):
        import_module(slow)  # once, rather than in each child
    found = plugins.Plugins([*plugins.plugins().all, Plugin("rivals", "1.0", "rivals", parts=(Rivals,))])
    plugins._loaded = lambda: found
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


# What is seen of it from outside.


@dataclass
class Ended:
    """How a child ended.

    Args:
        status: its exit status, or the negative of the signal that killed it.
        result: what it gave.
        error: what it raised.
        warnings: what it warned of.
        moments: what it came to, and when.
    """

    status: int
    result: Any
    error: str
    warnings: list[str]
    moments: list[tuple[str, float]]

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def longest(self, moment: str) -> float:
        """Seconds that it took."""
        begins = [t for name, t in self.moments if name == moment]
        ends = [t for name, t in self.moments if name == ("record" if moment == "start" else f"after {moment}")]
        return max(end - begin for begin, end in zip(begins, ends, strict=False))


class Parent:
    """What forks the children."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def do(
        self,
        act: Callable[..., Any],
        *,
        die: tuple[str, int] | None = None,
        kill: tuple[str, int, float] | None = None,
        **arguments: Any,
    ) -> Ended:
        """Have a child do something; it kills itself at a moment, or is killed so many seconds after one."""
        arguments = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
        when = None if kill is None else dict(zip(("at", "nth", "seconds"), kill, strict=True))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"act": act.__name__, "arguments": arguments, "die": die, "kill": when}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        told = json.loads(self._process.stdout.readline())
        return Ended(told["ended"], told.get("result"), told.get("error", ""), told.get("warnings", []), told["moments"])

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def parent() -> Iterator[Parent]:
    found = Parent()
    yield found
    found.end()


@pytest.fixture(scope="module")
def whole(parent: Parent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "r"
    assert parent.do(fit, run=run, about="short").result == "done"
    return run


@pytest.fixture(scope="module")
def killed(parent: Parent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, killed in its second epoch; it has two checkpoints."""
    run = tmp_path_factory.mktemp("killed") / "r"
    assert parent.do(fit, run=run, about="short", save_every=1e-9, die=("step", 7)).killed
    return run


@pytest.fixture
def broken(killed: Path, tmp_path: Path) -> Path:
    """A copy of that."""
    return shutil.copytree(killed, tmp_path / "broken")


def _left(run: Path) -> dict[str, Any]:
    """All that must be the same to the last bit, whatever a run went through."""
    found, record = vaekit.Run(run), vaekit.Run(run).record
    state = checkpoint.read(run / "checkpoints")
    assert state is not None
    tensors, progress = state
    rows = [{name: value for name, value in row.items() if name != "images_per_second"} for row in found.metrics]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(rows)
    assert len(list((run / "checkpoints").iterdir())) <= 2
    assert not list(run.rglob(".*"))
    assert found.trained
    assert found.tested
    assert found.pictures == found.figures != []
    return {
        "model": {path.name: path.read_bytes() for path in (run / "model").iterdir()},
        "tensors": {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()},
        "progress": progress,
        "rows": rows,
        "record": {name: record[name] for name in ("status", "chosen", "trained", "tested", "config", "training", "examples")},
        "pictures": {path.name: path.read_bytes() for path in found.figures},
    }


EARLY = ["start", "record", "step", "step", "checkpoint", "row", "validation", "model"]
LATE = ["end", "figures", "checkpoint", "start", "record"]


@pytest.mark.slow
@pytest.mark.parametrize("about", ["mlp", "conv", "rivals"])
def test_a_run_that_is_killed_twenty_times_ends_as_if_it_never_was(about: str, parent: Parent, tmp_path: Path) -> None:
    untouched = parent.do(fit, run=tmp_path / "whole", about=about)
    assert untouched.result == "done", untouched.error
    if about == "mlp":
        assert max(row["epoch"] for row in vaekit.Run(tmp_path / "whole").metrics) < ABOUT[about]["epochs"]
    draw = random.Random(about)
    kills, tries = Counter[str](), Counter[str]()
    early = draw.sample(EARLY * 2, 2 * len(EARLY))
    for moment in itertools.chain(early, itertools.islice(itertools.cycle(LATE), 30)):
        nth = draw.randint(1, 3) if moment in ("record", "step", "checkpoint") else 1
        seconds = draw.uniform(0, 1.2 * untouched.longest(moment) / (1 + tries[moment]))  # should the machine be faster now
        tries[moment] += 1
        ended = parent.do(go_on, run=tmp_path / "killed", about=about, kill=(moment, nth, seconds))
        assert not ended.error, ended.error
        kills[moment] += ended.killed
        if kills.total() >= 20 and all(kills[late] for late in LATE):
            break
    assert kills.total() >= 20
    assert all(kills[moment] for moment in {*EARLY, *LATE}), kills
    last = parent.do(go_on, run=tmp_path / "killed", about=about)
    assert last.result == "done", last.error
    assert _left(tmp_path / "killed") == _left(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_that_is_killed_between_any_two_things_it_does_ends_as_if_it_never_was(parent: Parent, tmp_path: Path) -> None:
    assert parent.do(fit, run=tmp_path / "whole", about="shorter").result == "done"
    expected = _left(tmp_path / "whole")
    moments = [moment for moment, _ in parent.do(fit, run=tmp_path / "saving", about="shorter", save_every=1e-9).moments]
    assert _left(tmp_path / "saving") == expected
    assert len(moments) > 60
    seen: Counter[str] = Counter()
    for number, moment in enumerate(moments):
        seen[moment] += 1
        run = tmp_path / str(number)
        assert parent.do(fit, run=run, about="shorter", save_every=1e-9, die=(moment, seen[moment])).killed
        ended = parent.do(go_on, run=run, about="shorter")
        assert ended.result == "done", ended.error
        assert _left(run) == expected, (moment, seen[moment])
        shutil.rmtree(run)


@pytest.mark.parametrize(
    "moment",
    [
        ("record", 1),
        ("after record", 1),
        ("step", 3),
        ("checkpoint", 3),
        ("after validation", 1),
        ("model", 2),
        ("after model", 3),
        ("after checkpoint", 18),
        ("end", 1),
        ("figures", 1),
        ("after figures", 1),
    ],
    ids=str,
)
def test_a_killed_run_ends_as_if_it_never_was(moment: tuple[str, int], parent: Parent, whole: Path, tmp_path: Path) -> None:
    ended = parent.do(fit, run=tmp_path / "r", about="short", save_every=1e-9, die=moment)
    assert ended.killed
    assert ended.moments[-1][0] == moment[0]
    last = parent.do(go_on, run=tmp_path / "r", about="short")
    assert last.result == "done", last.error
    assert _left(tmp_path / "r") == _left(whole)


def test_a_run_is_done_only_when_it_is_tested_and_drawn(parent: Parent, whole: Path, tmp_path: Path) -> None:
    """So that a sweep goes on with one that was killed while it was."""
    run = tmp_path / "r"
    assert parent.do(fit, run=run, about="short", die=("figures", 1)).killed
    assert vaekit.Run(run).status == "interrupted"
    assert parent.do(resume, run=run, about="short").result == "done"
    for moment, status in ((("after cut", 1), "running"), (("end", 1), "interrupted")):
        assert parent.do(resume, run=run, about="short", die=moment).killed
        assert vaekit.Run(run).status == status
    assert parent.do(resume, run=run, about="short").result == "done"
    assert _left(run) == _left(whole)


@pytest.mark.parametrize("left", [(), (".run.json.123",)], ids=["nothing", "a partial file"])
def test_a_sweep_makes_anew_what_was_killed_before_it_could_say_what_it_is_of(left: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    for name in left:
        (tmp_path / "r" / name).write_text("{")
    about = {**ABOUT["short"], "epochs": 1}
    options = about.pop("data_options")
    parts = {kind: about.pop(kind) for kind in ("encoder", "decoder", "latent")}
    recipe = Recipe(source=_data("short"), parts=parts, data=options, training=about)
    assert resuming.continued("r", tmp_path, recipe, progress=False).status == "done"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("steps", [(1,), (1, 1), (1, 2, 3), (1, 2, 2), (2, 2, 2)], ids=str)
def test_a_kill_at_any_system_call_of_a_checkpoint_leaves_a_good_one(
    steps: tuple[int, ...], when: str, parent: Parent, tmp_path: Path
) -> None:
    for call in itertools.count(1):
        folder = tmp_path / str(call)
        ended = parent.do(write_states, folder=folder, steps=steps, call=call, when=when)
        found = checkpoint.read(folder)
        if not ended.status:
            break
        assert ended.status == 9, ended.error
        if found is None:
            assert len(steps) == 1
        else:
            tensors, progress = found
            assert progress["n"] in (len(steps) - 1, len(steps) - 2)
            assert progress == _state(steps[progress["n"]], progress["n"])[1]
            assert torch.equal(tensors["weights"], torch.full((1000,), float(progress["n"])))
        checkpoint.write(folder, _state(9, 9))
        assert checkpoint.read(folder)[1] == {"steps": 9, "n": 9}
        assert len(list(folder.iterdir())) <= 2
    assert ended.result == call - 1 >= 5
    assert found is not None
    assert found[1]["n"] == len(steps) - 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


HARM = {
    "truncated": ("state.safetensors", _cut),
    "one bit": ("state.safetensors", _flip),
    "zeros": ("state.safetensors", _zero),
    "no tensors": ("state.safetensors", Path.unlink),
    "a word": ("state.json", lambda path: path.write_text("[]")),
    "torn JSON": ("state.json", _cut),
    "JSON of zeros": ("state.json", _zero),
    "no JSON": ("state.json", Path.unlink),
    "another object": ("state.json", lambda path: path.write_text("{}")),
    "nothing": ("", shutil.rmtree),
}


@pytest.mark.filterwarnings("ignore:the newest checkpoint cannot be read")
@pytest.mark.parametrize("harm", HARM)
def test_a_newest_checkpoint_that_is_damaged_makes_way_for_the_one_before(
    harm: str, parent: Parent, whole: Path, broken: Path
) -> None:
    before, newest = sorted((broken / "checkpoints").iterdir())
    name, do = HARM[harm]
    do(newest / name)
    found = checkpoint.read(broken / "checkpoints")
    assert found is not None
    assert found[1]["steps"] == int(before.name) == int(newest.name) - 1
    assert parent.do(resume, run=broken, about="short", save_every=10).result == "done"
    assert _left(broken) == _left(whole)


@pytest.mark.parametrize("harm", [harm for harm in HARM if harm != "nothing"])
def test_checkpoints_that_are_all_damaged_are_an_error(harm: str, broken: Path) -> None:
    name, do = HARM[harm]
    for path in (broken / "checkpoints").iterdir():
        do(path / name)
    before = (broken / "metrics.jsonl").read_bytes()
    with pytest.raises(vaekit.CheckpointError, match=r"no checkpoint under .* can be read \(.*\)") as raised:
        resume(str(broken), "short")
    assert "\n" not in str(raised.value)
    assert (broken / "metrics.jsonl").read_bytes() == before


def test_what_is_written_after_a_damaged_checkpoint_outlives_it(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        checkpoint.write(tmp_path, _state(step, step))
    _cut(tmp_path / "000000030" / "state.safetensors")
    for step in (21, 22):
        checkpoint.write(tmp_path, _state(step, step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000021", "000000022"]
    assert checkpoint.read(tmp_path)[1]["steps"] == 22


@pytest.mark.parametrize("torn", ['{"epoch": 2, "st', "\0\0\0", "\udcff\udcfe", '{"epoch": 1}'], ids=repr)
def test_the_torn_last_row_of_a_killed_run_is_cut(torn: str, parent: Parent, whole: Path, broken: Path) -> None:
    with (broken / "metrics.jsonl").open("ab") as file:
        file.write(torn.encode("utf-8", "surrogateescape"))
    assert len(vaekit.Run(broken).metrics) == 2
    assert parent.do(resume, run=broken, about="short").result == "done"
    assert _left(broken) == _left(whole)


def test_what_kills_have_left_is_removed(parent: Parent, whole: Path, broken: Path) -> None:
    for name in (
        ".run.json.17",
        ".metrics.jsonl.4",
        "model/.model.safetensors.123",
        "model/.tmplFmY6C",
        "checkpoints/.000000009.5/x",
    ):
        (broken / name).parent.mkdir(exist_ok=True)
        (broken / name).write_text("half")
    assert parent.do(resume, run=broken, about="short").result == "done"
    assert _left(broken) == _left(whole)


SPACE = [("record", 3), ("row", 1), ("row", 4), ("checkpoint", 1), ("checkpoint", 4), ("model", 1), ("end", 1), ("figures", 1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("moment", SPACE, ids=str)
def test_where_there_is_no_space_left_one_line_says_what_to_do(
    moment: tuple[str, int], parent: Parent, whole: Path, broken: Path, tmp_path: Path
) -> None:
    (tmp_path / "room").mkdir()
    at, nth = moment
    ended = parent.do(without_space, run=broken, about="short", at=at, nth=nth, room=tmp_path / "room")
    if "nothing can be mounted here" in ended.error:
        pytest.skip("nothing can be mounted here")
    assert not ended.error, ended.error
    said = ended.result["said"]
    assert said.startswith("CheckpointError: ")
    assert f": free some space, then `vaekit resume {tmp_path / 'room' / 'r'}`" in said
    assert "\n" not in said
    assert ended.result["after"] >= ended.result["before"]
    assert _left(Path(f"{broken}-after")) == _left(whole)


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8, 14])
def test_no_space_at_any_file_is_survived(nth: int, parent: Parent, whole: Path, broken: Path) -> None:
    before = checkpoint.read(broken / "checkpoints")[1]["steps"]
    ended = parent.do(failing_syncs, run=broken, about="short", nth=nth)
    assert ended.error.startswith("CheckpointError: ")
    assert ended.error.endswith(f"No space left on device: free some space, then `vaekit resume {broken}` goes on")
    assert checkpoint.read(broken / "checkpoints")[1]["steps"] >= before
    assert parent.do(resume, run=broken, about="short").result == "done"
    assert _left(broken) == _left(whole)


def test_a_run_that_cannot_say_what_it_is_of_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(vaekit.CheckpointError, match=r"run.json cannot be written: No space left on device$"):
        fit(str(tmp_path / "r"), "short")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", [".", "checkpoints", "model"])
def test_a_run_that_cannot_be_written_is_refused_before_it_trains(folder: str, parent: Parent, broken: Path) -> None:
    ended = parent.do(resume_read_only, run=broken, about="short", folder=folder)
    if "nothing can be mounted here" in ended.error:
        pytest.skip("nothing can be mounted here")
    assert ended.error == (
        f"CheckpointError: {broken / folder} cannot be written: see to its permissions, or copy the run elsewhere"
    )
    assert not [moment for moment, _ in ended.moments if moment == "step"]


def test_another_number_of_threads_is_a_warning(parent: Parent, broken: Path) -> None:
    ended = parent.do(resume, run=broken, about="short", threads=2)
    assert ended.result == "done", ended.error
    assert ended.warnings == [
        "the run was computed on cpu with 1 thread, and is now on cpu with 2 threads: "
        "the weights will not be the same to the last bit"
    ]
    assert vaekit.Run(broken).record["chosen"]["threads"] == 1


def test_a_run_computes_on_its_own_number_of_threads_wherever_it_goes_on(parent: Parent, whole: Path, broken: Path) -> None:
    ended = parent.do(resume_elsewhere, run=broken, about="short", moments=["step", "end"])
    assert ended.result == {"step": 1, "end": 1}, ended.error
    assert not ended.warnings
    assert _left(broken) == _left(whole)


def test_other_versions_are_a_warning(parent: Parent, broken: Path) -> None:
    was = vaekit.Run(broken).record["versions"]["vaekit"]
    ended = parent.do(resume_upgraded, run=broken, about="short")
    assert ended.result == "done", ended.error
    assert ended.warnings == [
        f"the run was computed with vaekit {was}, and is now with 9.9: the weights will not be the same to the last bit"
    ]


def test_a_checkpoint_of_another_run_is_refused(parent: Parent, broken: Path, tmp_path: Path) -> None:
    other = {"latent": {"features": 3}, "lr": 0.5, "data_options": {"binarize": "none"}}
    assert parent.do(fit, run=tmp_path / "other", about="short", **other).result == "done"
    shutil.rmtree(broken / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", broken / "checkpoints")
    before = {path: path.read_bytes() for path in broken.rglob("*") if path.is_file() and path.name != "run.json"}
    ended = parent.do(resume, run=broken, about="short")
    assert ended.error.startswith(f"CheckpointError: the checkpoint of {broken} is of something else: ")
    for differing in (
        "config.latent.features 3 there, 2 here",
        "data.binarize 'none' there, 'dynamic' here",
        "training.lr 0.5 there, 0.01 here",
    ):
        assert differing in ended.error
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_data_of_another_size_are_refused(split: str, tmp_path: Path) -> None:
    x = torch.from_numpy(_data("short"))

    def data(**sizes: int) -> vaekit.Raw:
        return vaekit.Raw({name: vaekit.Examples(x[: sizes.get(name, 20)]) for name in ("train", "validation", "test")})

    about = {**ABOUT["short"], "epochs": 1}
    run = vaekit.fit(data(), **about, output=tmp_path, progress=False)
    changed = "examples was 20 and is 19" if split == "train" else f"{split} examples was 20 and is 19"
    with pytest.raises(vaekit.CheckpointError, match=f"the data have changed since: {changed}; bring back"):
        resuming.resume(run.path, data=data(**{split: 19}), progress=False)
    with pytest.raises(vaekit.CheckpointError, match=r"the data have changed since: shape was \(6,\) and is \(5,\)"):
        resuming.resume(run.path, data=vaekit.Raw({s: vaekit.Examples(x[:20, :5]) for s in ("train", "validation", "test")}))
    assert run.status == "done"
    assert resuming.resume(run.path, data=data(), progress=False).status == "done"


def test_sigterm_ends_a_command_by_sigterm_and_it_goes_on(parent: Parent, whole: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", _data("mlp"))
    arguments = [
        "npy:x.npy",
        "encoder.hidden=[16]",
        "data.binarize=dynamic",
        "--epochs",
        "100000",
        "--name",
        "r",
        "--save-every",
        "1000",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "vaekit", "train", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    run = tmp_path / "runs" / "r"
    try:
        until = time.monotonic() + 120
        while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_text().count("\n") > 2):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in said
    assert vaekit.Run(run).status == "interrupted"
    before = checkpoint.read(run / "checkpoints")
    assert before is not None
    ended = parent.do(command, arguments=["resume", "runs/r"], folder=tmp_path, kill=("step", 5, 0.0))
    assert ended.killed, ended.error
    assert max(row["step"] for row in vaekit.Run(run).metrics) <= before[1]["steps"] + 5


class Interrupted(http.server.SimpleHTTPRequestHandler):
    """Breaks off in the middle of each file."""

    broken = True

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.broken else content)

    def log_message(self, *args: Any) -> None:
        pass


def _idx(x: np.ndarray) -> bytes:
    return bytes([0, 0, 8, x.ndim]) + b"".join(n.to_bytes(4, "big") for n in x.shape) + x.tobytes()


def test_a_download_that_was_interrupted_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    draw = np.random.default_rng(0)
    served = tmp_path / "www"
    served.mkdir()
    for stem, n in (("train", 40), ("t10k", 6)):
        x, y = draw.integers(0, 256, (n, 28, 28), np.uint8), draw.integers(0, 10, n, np.uint8)
        (served / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(x)))
        (served / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(y)))
    resources = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(served.iterdir())]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)

    class Handler(Interrupted):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        with pytest.raises(vaekit.DataError, match="could not be downloaded") as raised:
            vaekit.data.prepare.load("mnist", root=tmp_path / "root")
        assert "\n" not in str(raised.value)
        assert list((tmp_path / "root").rglob("*.gz"))
        Handler.broken = False
        data = vaekit.data.prepare.load("mnist", root=tmp_path / "root")
        server.shutdown()
    assert torch.equal(data.test.x.flatten(), torch.from_numpy(x).flatten())


if __name__ == "__main__":
    _serve()

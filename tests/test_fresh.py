"""What wants a fresh process gets one whatever becomes of it: parts that hang, die, fork or cannot be imported; Ctrl-C."""

import fcntl
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread, main_thread
from types import SimpleNamespace
from typing import Any

import pytest

from vaekit import Part
from vaekit.testing import CheckFailed, NotApplicable, checks_for, forks, fresh
from vaekit.testing.case import Case

SERVING = f"""
import os, sys, types
print("what is started with every Python may print")
package = types.ModuleType("vaekit.testing")  # without torch, which takes seconds
package.__path__ = [{str(Path(forks.__file__).parent)!r}]
sys.modules["vaekit.testing"] = package
from vaekit.testing import forks

def run(codes):
    names = {{}}
    for code in codes:
        exec("import fcntl, multiprocessing, os, signal, sys, time\\n" + code, names)
        yield names.get("said")

def serve():
    forks.serve(run)
"""
"""A server whose children run the code that they are sent, and say what is called `said`."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules are found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[forks.Server]:
    (folder / "serving.py").write_text(SERVING)
    server = forks.Server("serving")
    yield server
    server.stop()


def _said(server: forks.Server, *codes: str, seconds: float = 20) -> Any:
    said, ended = server.ask(codes, seconds)
    assert not ended
    return said[-1]


def _locking(file: Path) -> str:
    """Code that holds a lock on a file for as long as it, or what it forks, lives."""
    return f"held = open({str(file)!r}, 'w'); fcntl.flock(held, fcntl.LOCK_EX); held.write('locked'); held.flush()\n"


def _soon(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def _locked(file: Path) -> None:
    """Wait until the code has begun."""
    _soon(lambda: file.exists() and file.read_text() == "locked")


def _released(file: Path) -> None:
    """Wait until nothing is left of what held the lock."""

    def free() -> bool:
        with file.open() as again:
            try:
                fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    _soon(free)


def _pid(server: forks.Server) -> int:
    assert server._process is not None
    return server._process.pid


def test_every_request_has_a_process_of_its_own(server: forks.Server) -> None:
    first, second = _said(server, "said = os.getpid()"), _said(server, "said = os.getpid()")
    assert len({first, second, _pid(server)}) == 3
    assert server.ask(["said = 1", "said += 1"], 20) == ([1, 2], "")
    assert _said(server, "print('hello'); os.write(1, b'hello'); said = os.read(0, 1).decode()") == ""
    assert len(_said(server, f"said = {'long' * 50_000!r}")) == 200_000


def test_an_interrupted_request_leaves_no_answer_for_the_next(server: forks.Server, tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def interrupt() -> None:
        _locked(lock)
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)

    thread = Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        server.ask([_locking(lock) + "time.sleep(600); said = 'first'"], 900)
    thread.join()
    _released(lock)
    assert _said(server, "said = 'second'") == "second"
    assert _said(server, "said = 'third'") == "third"


def test_the_terminal_does_not_interrupt_the_server(server: forks.Server) -> None:
    _said(server, "said = ''")
    assert os.getsid(_pid(server)) != os.getsid(0)


def test_a_server_that_has_died_is_started_again(server: forks.Server) -> None:
    assert _said(server, "said = 1") == 1
    os.kill(_pid(server), signal.SIGKILL)
    assert server._process.wait(5) == -9
    assert _said(server, "said = 2") == 2
    with pytest.raises(NotApplicable, match="the server of fresh processes was ended by signal 9 before it answered"):
        server.ask(["os.kill(os.getppid(), signal.SIGKILL)"], 20)
    assert _said(server, "said = 3") == 3
    os.kill(_pid(server), signal.SIGKILL)
    server.stop()
    server.stop()
    assert _said(server, "said = 4") == 4


def test_a_server_that_answers_nothing_is_not_waited_for(server: forks.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    _said(server, "said = 1")
    os.kill(_pid(server), signal.SIGSTOP)
    monkeypatch.setattr(forks, "_GRACE", 0.2)
    with pytest.raises(NotApplicable, match="was ended by signal 9 before it answered"):
        server.ask(["said = 2"], 0.2)


def test_a_server_ends_with_who_asks_it(server: forks.Server, tmp_path: Path) -> None:
    _said(server, "said = 1")
    process, lock = server._process, tmp_path / "lock"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(server.ask, [_locking(lock) + "time.sleep(600)"], 900)
        _locked(lock)
        process.stdin.close()  # as when it is killed
        with pytest.raises(NotApplicable, match="ended with status 0 before it answered"):
            asked.result(20)
    _released(lock)
    _said(server, "said = 1")
    process = server._process
    process.stdin.close()
    assert process.wait(5) == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere", "no fresh process can be started: the server of them ended with status 1"),
        ("def serve(): print('ready', flush=True); input(); print('[0, [], 0]', flush=True); input()", "something else than"),
        ("def serve(): print('ready', flush=True); input(); print('nonsense', flush=True); input()", "something else than"),
    ],
)
def test_what_is_no_server_is_said(folder: Path, source: str, said: str) -> None:
    (folder / "unserving.py").write_text(source)
    server = forks.Server("unserving")
    with pytest.raises(NotApplicable, match=said):
        server.ask([], 20)
    assert server._process is None


def test_without_a_python_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NotApplicable, match=r"no fresh process can be started: .*No such file"):
        forks.Server("serving").ask([], 20)


@pytest.mark.parametrize("dies", ["", "os.kill(os.getpid(), signal.SIGSEGV)", "os._exit(3)", "time.sleep(600)"])
def test_what_a_child_leaves_behind_is_not_waited_for(server: forks.Server, tmp_path: Path, dies: str) -> None:
    lock = tmp_path / "lock"
    forking = "multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)).start(); said = 'begun'"
    ended = {"": "", "os.k": "was ended by signal 11", "os._": "ended with status 3", "time": "took longer than 2 s"}[dies[:4]]
    assert server.ask([_locking(lock) + forking, dies], 2) == (["begun"] * (1 if dies else 2), ended)
    _released(lock)


def test_where_nothing_forks_a_server_answers_once(server: forks.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "FORKS", False)
    first = _said(server, "said = os.getpid()")
    assert server._process is None
    assert _said(server, "said = os.getpid()") != first


def test_threads_get_their_own_answers(server: forks.Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: _said(server, f"said = {i}"), range(16))) == list(range(16))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_server_of_its_own(server: forks.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "_SERVERS", {os.getpid(): server})
    monkeypatch.setattr(fresh, "__name__", "serving")
    assert fresh._server() is server
    ours = _said(server, "said = os.getppid()")
    with server._lock:  # as where another thread is asking
        child = os.fork()
        if not child:
            try:
                theirs = _said(fresh._server(), "said = os.getppid()")
                fresh._stop()
                os._exit(theirs == ours)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert _said(server, "said = os.getppid()") == ours
    fresh._stop()
    assert server._process is None


PART = '''
import sys
import torch
import vaekit
from torch import nn

fresh = "pytest" not in sys.modules


class Part(vaekit.Encoder):
    """x (N, *in_shape) gives h (N, 3). It does not compile."""

    name = "part"

    def __init__(self, in_shape, context):
        super().__init__()
        self.layer = nn.Linear(torch.Size(in_shape).numel(), 3)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.out_shape = (3,)

    def forward(self, x, c):
        return self.layer(x.flatten(1))
'''


@pytest.fixture
def part(folder: Path, request: pytest.FixtureRequest) -> Callable[..., type[Part]]:
    """A part in a module of its own: PART, and what is given after it."""

    def make(more: str = "", name: str = f"part_of_{request.node.name.partition('[')[0]}") -> type[Part]:
        file = folder / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{PART}{more}")
        made: type[Part] = importlib.import_module(name).Part
        return made

    return make


def _check(name: str, part: type[Part]) -> None:
    next(check for check in checks_for(part, shapes=((2, 2), (3,))) if check.name == name)()


IN_TRAINING = """
def forward(self, x, c):
    h = self.layer(x.flatten(1))
    with torch.no_grad():
        self.mean.lerp_(h.mean(0), 0.5)
        self.count += 1
    return h + self.mean + self.count

Part.forward = forward
"""


def test_what_changes_in_training_compiles(part: Callable[..., type[Part]]) -> None:
    made = part(IN_TRAINING)
    _check("imports-cleanly", made)
    _check("compiles", made)


@pytest.mark.parametrize("compiles", [True, False])
def test_a_module_that_cannot_be_imported_again_is_found(part: Callable[..., type[Part]], compiles: bool) -> None:
    made = part(f"\nPart.compiles = {compiles}\nassert not fresh, 'only once'", f"once{compiles}")
    said = f"^importing once{compiles} in a fresh process raises AssertionError: only once$"
    with pytest.raises(CheckFailed, match=said):
        _check("imports-cleanly", made)
    if compiles:
        with pytest.raises(CheckFailed, match=said):
            _check("compiles", made)


def test_a_module_that_test_runners_skip_is_found(part: Callable[..., type[Part]]) -> None:
    with pytest.raises(CheckFailed, match="raises Skipped: not here"):
        _check("imports-cleanly", part("\nif fresh: import pytest; pytest.skip('not here', allow_module_level=True)"))


def test_a_part_that_hangs_is_found(part: Callable[..., type[Part]], monkeypatch: pytest.MonkeyPatch) -> None:
    made = part("\nif fresh: import time; time.sleep(600)")
    _check("imports-cleanly", part(name="quick"))  # the server is there
    monkeypatch.setattr(fresh, "_SECONDS", 0.5)
    start = time.monotonic()
    for name in ("imports-cleanly", "compiles"):
        with pytest.raises(CheckFailed, match=r"^importing part_of_\w+, a fresh process took longer than 0.5 s$"):
            _check(name, made)
    assert time.monotonic() - start < 5


def test_a_part_that_dies_in_compiling_can_be_imported(
    part: Callable[..., type[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = part()
    answer = ([{"changed": [], "printed": ""}], "was ended by signal 11")
    monkeypatch.setattr(fresh, "_server", lambda: SimpleNamespace(ask=lambda *_: answer))
    _check("imports-cleanly", made)
    with pytest.raises(CheckFailed, match="compiling it, a fresh process was ended by signal 11; or say compiles = False"):
        _check("compiles", made)


def test_what_cannot_be_tried_in_a_fresh_process_is_said(part: Callable[..., type[Part]]) -> None:
    raising = "from vaekit.testing import NotApplicable\n    raise NotApplicable('nothing to try it on')"
    made = part(f"\ndef forward(self, x, c):\n    {raising}\nPart.forward = forward")
    _check("imports-cleanly", made)
    with pytest.raises(NotApplicable, match=r"^nothing to try it on$"):
        _check("compiles", made)


def test_a_package_in_the_current_folder(
    part: Callable[..., type[Part]], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != str(folder))])
    (folder / "here").mkdir()
    (folder / "here" / "__init__.py").write_text("print('imported as a package')")
    (folder / "here" / "beside.py").write_text("said = 1")
    made = part("\nfrom .beside import said", "here.part")
    assert fresh.report(Case(made)).printed == "imported as a package\n"


def test_a_module_that_is_not_where_modules_are_found(part: Callable[..., type[Part]], monkeypatch: pytest.MonkeyPatch) -> None:
    made = part("\nprint(__name__)", "apart.part")
    monkeypatch.setattr(sys, "path", sys.path[1:])
    found = fresh.report(Case(made))
    assert (found.failed, found.printed, found.compiling) == ("", "apart.part\n", "")


def test_what_is_in_no_file_is_not_imported() -> None:
    made = type("Made", (Part,), {"__module__": "nowhere"})
    with pytest.raises(NotApplicable, match="Made is not in a module that another process can import"):
        fresh.report(Case(made))

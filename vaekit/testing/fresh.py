"""What wants a fresh process: to import a part's module, and to compile the part.

A server imports torch once and forks a child for each request, so that every child is as good as new and none takes the
seconds that importing torch does.
"""

import atexit
import importlib
import importlib.util
import inspect
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import torch

from vaekit.ambient import Ambient
from vaekit.testing.benches import Bench
from vaekit.testing.case import Case, same
from vaekit.testing.outcomes import NotApplicable

_SECONDS = 300  # that a child may take
_SLOW = ("torch._dynamo.backends.debugging", "torch._functorch.aot_autograd", "torch._inductor.compile_fx")
"""What compiling imports: once for all children."""


@dataclass(frozen=True)
class Findings:
    """What was seen in a fresh process.

    Args:
        changed: the global state that importing the module changed, in words.
        printed: what that printed.
        compiling: why the part does not compile as one graph; empty where it does.
    """

    changed: list[str]
    printed: str
    compiling: str


def report(case: Case) -> Findings:
    """What is seen of a part in a fresh process; found out once.

    Raises:
        NotApplicable: where a fresh process cannot import the part.
    """
    part = case.part
    if part.__module__ == "__main__" or "<locals>" in part.__qualname__:
        raise NotApplicable(f"{part.__qualname__} is not in a module that another process can import")
    request = {
        "module": part.__module__,
        "file": inspect.getfile(part),
        "part": part.__qualname__,
        "options": case.given,
        "shapes": case.shapes,
    }
    return _asked(json.dumps(request))


@cache
def _asked(request: str) -> Findings:
    with _ASKING:
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(request + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        if not _FORKS:  # then a server serves once
            _server.cache_clear()
    return Findings(**json.loads(answer))


_ASKING = Lock()
_FORKS = hasattr(os, "fork")


@cache
def _server() -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_stop, server)
    return server


def _stop(server: "subprocess.Popen[str]") -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.close()
    server.stdout.close()
    server.wait()


def serve() -> None:
    """Be the server: a request a line from standard input, an answer a line to standard output, as JSON."""
    for module in _SLOW:
        with suppress(ImportError):
            importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not be taken for an answer
    for request in sys.stdin:
        answers.write((_in_a_child if _FORKS else _answer)(request) + "\n")
        answers.flush()


def _in_a_child(request: str) -> str:
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(_SECONDS)
            os.close(out)
            with os.fdopen(into, "w") as pipe:
                pipe.write(_answer(request))
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    ended = f"was ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
    return answer or _failed(f"the process that imports and compiles it {ended}")


def _answer(request: str) -> str:
    asked = json.loads(request)
    printed = io.StringIO()
    before = Ambient.now()
    try:
        with redirect_stdout(printed):
            found: Any = _module(asked["module"], asked["file"])
            for name in asked["part"].split("."):
                found = getattr(found, name)
    except (Exception, SystemExit) as error:
        return _failed(f"importing {asked['module']} in a fresh process raises {_line(error)}")
    changed = before.changes()
    before.restore()
    compiling = _compiling(Case(found, asked["options"], tuple(map(tuple, asked["shapes"])))) if found.compiles else ""
    return json.dumps(asdict(Findings(changed, printed.getvalue(), compiling)))


def _failed(why: str) -> str:
    return json.dumps(asdict(Findings([], "", why)))


def _line(error: BaseException) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"


def _module(name: str, file: str) -> ModuleType:
    """The module of that name; from its file where it is not where modules are found, as tests are not."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(file).stem] = module
    spec.loader.exec_module(module)
    return module


def _compiling(case: Case) -> str:
    """Why a part does not compile as one graph, or compiled gives something else; nothing where all is well."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        wiring = case.few[-1]  # that of the widest context: without one there is less to compile
        difference = _compiled(case.bench(wiring, training=True))
    except Exception as error:
        return f"torch.compile(fullgraph=True) fails with {_line(error)}"
    return f"{wiring}: compiled, {difference}" if difference else ""


def _compiled(bench: Bench) -> str:
    inputs = bench.inputs(4)
    torch.manual_seed(0)
    eager = bench(*inputs)
    torch.manual_seed(0)
    compiled = torch.compile(bench, fullgraph=True, backend="aot_eager", dynamic=False)(*inputs)
    for value in compiled.values():
        if value.requires_grad:
            value.sum().backward(retain_graph=True)
    return same(compiled, eager, rtol=1e-3, atol=1e-4)

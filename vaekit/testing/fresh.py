"""What wants a fresh process: to import a part's module, and to compile the part."""

import atexit
import importlib
import importlib.util
import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import torch

from vaekit.ambient import DRAWN, Ambient
from vaekit.testing import forks
from vaekit.testing.benches import Bench
from vaekit.testing.case import Case, same
from vaekit.testing.outcomes import NotApplicable

_SECONDS = 300  # that importing a module and compiling a part may take
_SLOW = ("torch._dynamo.backends.debugging", "torch._functorch.aot_autograd", "torch._inductor.compile_fx")
"""What compiling imports: once for all parts."""


@dataclass(frozen=True)
class Findings:
    """What was seen in a fresh process.

    Args:
        failed: why the part cannot be imported there; empty where it can.
        changed: the global state that importing the module changed, in words.
        printed: what that printed.
        compiling: why the part does not compile as one graph; empty where it does.
        untried: why it cannot be said whether it does.
    """

    failed: str = ""
    changed: list[str] = field(default_factory=list)
    printed: str = ""
    compiling: str = ""
    untried: str = ""


def report(case: Case) -> Findings:
    """What is seen of a part in a fresh process; found out once.

    Raises:
        NotApplicable: where there is no fresh process, or none can import the part.
    """
    part = case.part
    try:
        file = os.path.abspath(inspect.getfile(part))
    except (OSError, TypeError):
        file = ""
    if not file or part.__module__ == "__main__" or "<locals>" in part.__qualname__:
        raise NotApplicable(f"{part.__qualname__} is not in a module that another process can import")
    request = {
        "module": part.__module__,
        "file": file,
        "part": part.__qualname__,
        "options": case.given,
        "shapes": case.shapes,
        "path": forks.search_path(),
    }
    return _asked(json.dumps(request))


@cache
def _asked(request: str) -> Findings:
    said, ended = _server().ask(request, _SECONDS)
    seen: dict[str, Any] = {name: value for bit in said for name, value in bit.items()}
    if ended and not said:
        seen["failed"] = f"importing {json.loads(request)['module']}, a fresh process {ended}"
    elif ended:
        seen["compiling"] = f"compiling it, a fresh process {ended}"
    return Findings(**seen)


_SERVERS: dict[int, forks.Server] = {}
"""By the number of the process that asks: one that was forked must not talk to that of its parent."""


def _server() -> forks.Server:
    return _SERVERS.setdefault(os.getpid(), forks.Server(__name__))


@atexit.register
def _stop() -> None:
    if os.getpid() in _SERVERS:
        _server().stop()


def serve() -> None:
    """Be the server."""
    for module in _SLOW:
        with suppress(ImportError):
            importlib.import_module(module)
    forks.serve(_seen)


def _seen(request: str) -> Iterator[dict[str, Any]]:
    """What is seen of a part: first of its module, and then of its compiling."""
    asked = json.loads(request)
    sys.path[:] = asked["path"]
    importlib.invalidate_caches()
    printed = io.StringIO()
    before = Ambient.now()
    try:
        with redirect_stdout(printed):
            found: Any = _module(asked["module"], asked["file"])
            for name in asked["part"].split("."):
                found = getattr(found, name)
    except BaseException as error:  # SystemExit, and what test runners raise
        yield {"failed": f"importing {asked['module']} in a fresh process raises {_line(error)}"}
        return
    yield {"changed": [str(change) for change in before.differences() if change.what != DRAWN], "printed": printed.getvalue()}
    before.restore()
    if found.compiles:
        yield _compiling(Case(found, asked["options"], tuple(map(tuple, asked["shapes"]))))


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
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _compiling(case: Case) -> dict[str, str]:
    """Why a part does not compile as one graph, or compiled gives something else; nothing where all is well."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        wiring = case.fewest[-1]  # that of the widest context: without one there is less to compile
        difference = _compiled(case.bench(wiring, training=True), case.bench(wiring, training=True))
    except NotApplicable as reason:
        return {"untried": str(reason)}
    except BaseException as error:
        return {"compiling": f"torch.compile(fullgraph=True) fails with {_line(error)}"}
    return {"compiling": f"{wiring}: compiled, {difference}" if difference else ""}


def _compiled(bench: Bench, twin: Bench) -> str:
    """How a bench and its twin differ, once this is compiled; two, as training may change what a part computes with."""
    twin.load_state_dict(bench.state_dict())  # what not only torch's generator decides
    inputs = bench.inputs(4)
    torch.manual_seed(0)
    eager = bench(*inputs)
    torch.manual_seed(0)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager", dynamic=False)(*inputs)
    for value in compiled.values():
        if value.requires_grad:
            value.sum().backward(retain_graph=True)
    return same(compiled, eager, rtol=1e-3, atol=1e-4)

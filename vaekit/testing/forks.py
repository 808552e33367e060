"""Processes that are as good as new: a server that has imported what is slow forks a child for each request."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from select import select
from threading import Lock, Timer
from typing import IO, Any

from vaekit.testing.outcomes import NotApplicable

FORKS = hasattr(os, "fork")
"""Whether processes can be forked; a server that cannot answers once, itself."""
_START = 120  # seconds that a server may take to start
_GRACE = 10  # seconds that it may take to answer, over those that the child may take
_READY = b"ready\n"
_NUMBERS = count(1)


class Server:
    """A server as the process that asks sees it: started when it is asked, and anew where it has died.

    Args:
        module: one with a function `serve` that calls that of this module.
    """

    def __init__(self, module: str) -> None:
        self._module, self._lock = module, Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Any, seconds: float) -> tuple[list[Any], str]:
        """What a child says of a request; and how it ended, if not as it should. It may take that many seconds.

        Raises:
            NotApplicable: where no server can be had, or it dies.
        """
        with self._lock:
            try:
                return self._asked(request, seconds)
            except BaseException:  # a KeyboardInterrupt too: the answer that is under way must not be taken for the next
                self.stop()
                raise

    def stop(self) -> None:
        """End the server, and the child that it may have, dead or alive."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in _pipes(process):
            with suppress(OSError):  # what was not sent cannot be sent any more
                pipe.close()

    def _asked(self, request: Any, seconds: float) -> tuple[list[Any], str]:
        process, number = self._running(), next(_NUMBERS)
        into, out = _pipes(process)
        with _killed_after(process, seconds + _GRACE):
            with suppress(BrokenPipeError):
                into.write(json.dumps([number, FORKS, seconds, request]).encode() + b"\n")
                into.flush()
            line = out.readline()
            if not line:
                raise NotApplicable(f"the server of fresh processes {_how(process.wait())} before it answered")
        try:
            answered, said, ended = json.loads(line)
        except ValueError:
            answered = None
        if answered != number:
            raise NotApplicable("the server of fresh processes answers something else than it was asked")
        if not FORKS:
            self.stop()
        return said, ended

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        code = f"import sys; sys.path[:] = {search_path()!r}; from {self._module} import serve; serve()"
        try:  # in a session of its own, where the terminal's Ctrl-C does not reach it
            self._process = process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise NotApplicable(f"no fresh process can be started: {error}") from error
        with _killed_after(process, _START):
            if _READY not in _pipes(process)[1]:  # line by line: what is started with every Python may print
                raise NotApplicable(f"no fresh process can be started: the server of them {_how(process.wait())}")
        return process


def search_path() -> list[str]:
    """Where modules are looked for, as another process can be told."""
    return [os.path.abspath(path) for path in sys.path if isinstance(path, str)]


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def _killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
    timer = Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def serve(function: Callable[[Any], Iterable[Any]]) -> None:
    """Be a server, until standard input ends: it brings a request a line, and standard output takes an answer a line.

    Args:
        function: called in a child with a request, gives what is to be said, bit by bit.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # whatever prints must not be taken for an answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    answers.write(_READY)
    answers.flush()
    with suppress(SystemExit, BrokenPipeError):  # who asks has ended
        for line in requests:
            number, forks, seconds, request = json.loads(line)
            ours = (requests.fileno(), answers.fileno())
            said, ended = _in_a_child(function, request, seconds, *ours) if forks else (list(function(request)), "")
            answers.write(json.dumps([number, said, ended]).encode() + b"\n")
            answers.flush()
    os._exit(0)  # at once: to clean up after torch takes a second


def _in_a_child(
    function: Callable[[Any], Iterable[Any]], request: Any, seconds: float, requests: int, answers: int
) -> tuple[list[Any], str]:
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.alarm(int(seconds + _GRACE))  # should the server be killed meanwhile
            for inherited in (out, requests, answers):
                os.close(inherited)
            with os.fdopen(into, "w") as pipe:
                for bit in function(request):
                    print(json.dumps(bit), file=pipe, flush=True)
                print(file=pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(into)
    try:
        with suppress(OSError):  # the child has done it
            os.setpgid(child, child)
        told, ended = _heard(out, child, seconds, requests)
    finally:
        with suppress(OSError):
            os.killpg(child, signal.SIGKILL)  # and what it has left behind
        with suppress(OSError):
            os.waitpid(child, 0)
        os.close(out)
    return [json.loads(bit) for bit in told.split(b"\n")[:-1] if bit], ended


def _heard(out: int, child: int, seconds: float, requests: int) -> tuple[bytes, str]:
    """What comes through a pipe until an empty line; and how the child ended, if it came to none.

    That a pipe ends is not to be waited for: what the child leaves behind has it too.
    """
    told, until, pipes = b"", time.monotonic() + seconds, [out, requests]
    while not told.endswith(b"\n\n"):
        left = until - time.monotonic()
        if left < 0:
            return told, f"took longer than {seconds:g} s"
        ready, _, _ = select(pipes, [], [], min(left, 0.2))
        if requests in ready:  # not a request, as one waits for this answer: who asked has ended
            sys.exit()
        if out in ready:
            told += (bit := os.read(out, 1 << 16))
            pipes = pipes if bit else [requests]
        else:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return told, _how(os.waitstatus_to_exitcode(status))
    return told, ""

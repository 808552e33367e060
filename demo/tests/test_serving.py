"""What stands around the answers: bounds, errors, training, and where a page listens."""

import asyncio
import logging
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vaekit_demo import guard, launching
from vaekit_demo.engine.shown import Shown
from vaekit_demo.engine.teaching import Lesson, teach
from vaekit_demo.work import FULL, Full, Workers, spoken

import vaekit
from vaekit import ConfigError, DataError

# Workers.


def test_more_than_may_wait_are_told() -> None:
    async def crowd() -> tuple[list[Any], Any]:
        workers = Workers(most=3)
        gate = threading.Event()
        waiting = [asyncio.create_task(workers.run(gate.wait, 10)) for _ in range(5)]
        await asyncio.sleep(0.05)
        gate.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        after = await workers.run(lambda: "room again")
        workers.close()
        return found, after

    found, after = asyncio.run(crowd())
    assert [isinstance(one, Full) for one in found] == [False] * 3 + [True] * 2
    assert after == "room again"


def test_what_is_quick_does_not_wait_for_what_takes_long() -> None:
    async def visit() -> str:
        workers = Workers()
        gate = threading.Event()
        waiting = [asyncio.create_task(workers.run(gate.wait, 20)) for _ in range(10)]
        await asyncio.sleep(0.05)
        found = await asyncio.wait_for(workers.run(lambda: "at once", quick=True), 10)
        gate.set()
        await asyncio.gather(*waiting)
        workers.close()
        return found

    assert asyncio.run(visit()) == "at once"


def test_what_nobody_waits_for_is_not_begun() -> None:
    begun: list[int] = []

    async def visit() -> None:
        workers = Workers()
        gate = threading.Event()
        first = asyncio.create_task(workers.run(gate.wait, 20))
        others = [asyncio.create_task(workers.run(begun.append, i)) for i in range(200)]
        await asyncio.sleep(0.05)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        gate.set()
        await first
        assert await workers.run(lambda: "room again") == "room again"
        workers.close()

    before = threading.active_count()
    asyncio.run(visit())
    assert len(begun) <= before + 8  # some had begun on other threads, where there are more cores


def test_the_end_comes_as_a_sentence() -> None:
    async def visit() -> BaseException:
        workers = Workers()
        gate = threading.Event()
        tasks = [asyncio.create_task(workers.run(gate.wait, 20)) for _ in range(40)]
        await asyncio.sleep(0.05)
        workers.close()
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return next(one for one in found if isinstance(one, BaseException))

    assert isinstance(asyncio.run(visit()), Full)


def test_a_visitor_is_told_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert spoken(DataError("the file is empty")) == "The file is empty."
    assert spoken(Full()) == FULL
    with caplog.at_level(logging.ERROR):
        said = spoken(ValueError("secret of the server"))
    assert "secret" not in said
    assert "secret" in caplog.text


# The guard.


class _Asgi:
    """An app that reads all that it is sent, and a client that sends it."""

    def __init__(self, chunks: list[bytes], length: int | None = None, method: str = "POST", path: str = "/upload") -> None:
        self.sent: list[Any] = []
        self.chunks = chunks
        self.stalls = self.leaves = self.cancelled = False
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        self.scope = {"type": "http", "method": method, "headers": headers, "path": path}

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        if self.leaves:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all of it"})

    async def receive(self) -> dict[str, Any]:
        if self.chunks:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks) or self.stalls}
        await asyncio.sleep(0.05 if self.leaves else 20)
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def status(self, middleware: Any = None) -> int:
        stands = middleware or guard.Guard(self.app)
        asyncio.run(stands(self.scope, self.receive, self.send))
        assert (stands.held, len([one for one in self.sent if "status" in one])) == (0, 1)
        return int(self.sent[0]["status"])


def test_what_is_small_passes_with_headers() -> None:
    asked = _Asgi([b"small"], 5)
    assert asked.status() == 200
    headers = dict(asked.sent[0]["headers"])
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"default-src 'self'" in headers[b"content-security-policy"]


def test_what_says_it_is_large_is_refused_unread() -> None:
    asked = _Asgi([b"x"], guard.MOST_BYTES + 1)
    assert asked.status() == 413
    assert asked.chunks == [b"x"]


def test_what_turns_out_large_is_refused() -> None:
    chunk = bytes(2**20)
    asked = _Asgi([chunk] * 30)
    assert asked.status() == 413
    assert len(asked.chunks) > 15


def test_a_crowd_is_refused() -> None:
    asked = _Asgi([b"x"], 1)
    stands = guard.Guard(asked.app)
    stands.at_once = guard.MOST_AT_ONCE
    assert asked.status(stands) == 503
    assert b"queue is full" in asked.sent[1]["body"]
    looking = _Asgi([b""], method="GET")
    assert looking.status(stands) == 200


def test_a_body_that_never_comes_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    asked = _Asgi([b"{"], 1000)
    asked.stalls = True
    stands = guard.Guard(asked.app)
    stands.at_once = guard.MOST_AT_ONCE  # counted once it is there
    assert asked.status(stands) == 408


def test_together_they_hold_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_HELD", 100)
    assert _Asgi([bytes(101)]).status() == 503


def test_an_answer_that_nobody_waits_for_is_given_up() -> None:
    asked = _Asgi([b"x"], 1)
    asked.leaves = True
    asyncio.run(guard.Guard(asked.app)(asked.scope, asked.receive, asked.send))
    assert asked.cancelled
    assert not asked.sent


@pytest.mark.parametrize(
    "path", ["/gradio_api/run/sample", "/gradio_api/vibe-code", "/process_recording", "/upload/../run/x", "/"]
)
def test_what_no_page_sends_is_not_there(path: str) -> None:
    assert _Asgi([b"x"], 1, path=path).status() == 404


def test_files_for_visitors_take_no_more_than_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_KEPT", 1000)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file").write_bytes(bytes(1001))
    asked = _Asgi([b"x"], 1)
    assert asked.status(guard.Guard(asked.app, tmp_path)) == 503
    assert _Asgi([b"x"], 1, path="/gradio_api/component_server").status() == 200


# Training.


def test_training_goes_on_until_it_is_stopped() -> None:
    stop = threading.Event()
    stop.set()  # of the one before
    seen = []
    for progress in teach(Lesson(epochs=50), stop):
        seen.append((progress.epoch, progress.over))
        if progress.epoch == 1:
            stop.set()
    assert seen == [(0, False), (1, False), (2, True)]


def test_the_last_word_is_that_it_is_over() -> None:
    assert [progress.over for progress in teach(Lesson(epochs=2), threading.Event())] == [False, False, True]


def test_one_training_at_a_time() -> None:
    stop = threading.Event()
    first: Iterator[Any] = teach(Lesson(epochs=3), stop)
    next(first)
    stop.set()
    with pytest.raises(ConfigError, match="going on already"):
        next(teach(Lesson(), stop))
    assert stop.is_set()  # which is for the other
    first.close()
    next(teach(Lesson(epochs=1), stop))


def test_the_command_trains_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaekit.cli import app

    lesson = Lesson(features=3, beta=2.0, epochs=2, seed=4)
    *_, last = teach(lesson, threading.Event())
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(lesson.command)
    app([*arguments, "--output", str(tmp_path), "--name", "same", "--quiet"], standalone_mode=False)
    rows = vaekit.Run(tmp_path / "same").metrics
    wanted = [row["nelbo"] for row in rows if row["split"] == "validation"]
    assert [row["nelbo"] for row in last.rows if row["split"] == "validation"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"features": 0}, {"epochs": 10**6}, {"lr": -1.0}, {"beta": float("nan")}, {"encoder": "x" * 100}]
)
def test_lessons_in_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Lesson.model_validate(wrong)


# Launching.


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"{taken}.*--port"):
            launching.launch(["anything"], port=taken)


@pytest.mark.parametrize(("host", "said"), [("no.such.host.invalid", "--port"), ("203.0.113.7", "cannot be listened on")])
def test_an_address_that_is_not_here(host: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        launching.launch(["anything"], host=host, port=7999)


def test_no_model_and_too_many() -> None:
    with pytest.raises(ConfigError, match="no model"):
        launching.launch([])
    with pytest.raises(ConfigError, match="more than the 16"):
        launching.launch(["x"] * 17)


def test_models_of_one_name_are_told_apart(tmp_path: Path, deep: Shown) -> None:
    for folder in ("a/same", "b/same", "c/other", "same-2"):
        deep.model.save(tmp_path / folder)
    shown = launching._shown([str(tmp_path / folder) for folder in ("a/same", "b/same", "c/other")], None)
    assert [one.key for one in shown] == ["same", "same-2", "other"]
    assert [one.title for one in shown] == ["same", "same", "other"]
    keys = [one.key for one in launching._shown([str(tmp_path / name) for name in ("same-2", "a/same", "b/same")], None)]
    assert len(set(keys)) == 3


def test_no_folder_is_named_to_visitors(tmp_path: Path, deep: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    deep.model.save(tmp_path / "here" / "model-a")
    (one,) = launching._shown([str(tmp_path / "here" / "model-a")], None)
    assert one.origin.load == "model-a"
    monkeypatch.chdir(tmp_path)
    (one,) = launching._shown([str(tmp_path / "here" / "model-a")], None)
    assert one.origin.load == "here/model-a"


def test_latest_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = vaekit.fit("digits", epochs=1, latent={"features": 2}, name="first", progress=False)
    (one,) = launching._shown(["latest"], None)
    vaekit.fit("digits", epochs=1, latent={"features": 3}, name="second", progress=False)
    assert (one.title, one.origin.load) == ("first", "runs/first")
    assert first.tested is not None
    shown = {what: value for what, value, _ in one.origin.measured}
    assert shown["negative ELBO, nats"] == f"{first.tested['nelbo']:.2f}"


# What brings what.


def test_the_engine_knows_no_page() -> None:
    code = "import sys, vaekit_demo.calls, vaekit_demo.engine.teaching; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

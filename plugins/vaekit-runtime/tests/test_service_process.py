"""The service as a process of its own, which serves an exported model on loopback."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from vaekit_runtime import Predictor
from vaekit_runtime.service.command import serve

httpx = pytest.importorskip("httpx")
pytest.importorskip("onnx")
for needed in ("fastapi", "uvicorn", "prometheus_client", "httptools"):
    pytest.importorskip(needed)

SHAPE, CODE = (1, 4, 4), 3
MOST_BYTES = 20_000


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server, and its address."""
    code = "from vaekit_runtime.service.command import main; main()"
    command = [sys.executable, "-c", code, str(folder), "--port", "0", "--threads", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor(folder, threads=1)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    options = ("--max-wait-ms", "50", "--max-examples", "40", "--max-bytes", str(MOST_BYTES), "--patience", "1")
    with serving(folder, *options) as (_, url), httpx.Client(base_url=url) as client:
        yield client


def count(client: Any, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


Z = np.random.default_rng(2).normal(size=(3, CODE)).astype(np.float32)
Y = ["cat", 1, "dog"]


def test_it_is_the_predictor_over_http(client: Any, predictor: Predictor) -> None:
    drawn = client.post("/sample", json={"n": 5, "y": "dog", "seed": 7, "temperature": 0.5}, headers={"host": "evil.example"})
    np.testing.assert_allclose(drawn.json()["x"], predictor.sample(5, "dog", 0.5, 7), rtol=1e-5, atol=1e-6)
    assert "evil" not in client.get("/", headers={"host": "evil.example"}).text
    assert client.head("/health").status_code == 200
    assert client.get("/health").json()["status"] == "ready"


def test_what_is_asked_at_the_same_time_is_computed_together(client: Any, predictor: Predictor) -> None:
    batches, examples = 'vaekit_batch_examples_count{kind="decode"}', 'vaekit_examples_total{kind="decode"}'
    before = count(client, batches), count(client, examples)
    means = predictor.decode(Z, Y)

    def ask(number: int) -> Any:
        return client.post("/decode", json={"z": Z[number : number + 1].tolist(), "y": Y[number]}).json()["x"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, [0, 1, 2] * 8))
    np.testing.assert_allclose(np.concatenate(answers), np.tile(means, (8, 1, 1, 1)), rtol=1e-5, atol=1e-6)
    assert count(client, examples) - before[1] == 24
    assert count(client, batches) - before[0] < 24


def test_a_body_that_is_too_large_is_refused_before_it_is_there(client: Any) -> None:
    def endless() -> Iterator[bytes]:
        yield from [b" " * 4096] * 64

    for body in (b" " * (MOST_BYTES + 1), endless()):
        answer = client.post("/decode", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert f"{MOST_BYTES:,}" in answer.json()["error"]


def test_who_sends_slowly_is_told_and_holds_nobody_up(client: Any) -> None:
    address = (client.base_url.host, client.base_url.port)
    beginnings = [b"POST /decode HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{", b"POST /decode HTTP/1.1\r\nho", b""]
    slow = [socket.create_connection(address, timeout=5) for _ in beginnings]
    for connection, beginning in zip(slow, beginnings, strict=True):
        connection.sendall(beginning)
    assert client.get("/health").status_code == 200
    for connection in slow:
        with connection:
            said = b"".join(iter(partial(connection.recv, 4096), b""))
        assert b" 408 " in said
        assert b"1 s" in said


def test_what_has_no_room_in_the_queue_is_asked_to_come_again(folder: Path) -> None:
    options = ("--queue", "4", "--max-examples", "4", "--max-batch", "8", "--max-wait-ms", "400")
    with serving(folder, *options) as (_, url), httpx.Client(base_url=url) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/sample", json={"n": 1, "seed": 0}), range(8)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers].count(200) == 4
        assert len(refused) == 4
        assert all(answer.headers["retry-after"] == "1" and "queue of 4" in answer.json()["error"] for answer in refused)
        assert client.post("/sample", json={"n": 4}).status_code == 200


def _waiting(client: Any, examples: int) -> None:
    """Wait until so many examples wait to be computed."""
    until = time.monotonic() + 5
    while count(client, "vaekit_queue_examples") < examples:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_stop_answers_what_was_taken_and_takes_nothing_more(folder: Path) -> None:
    with serving(folder, "--max-wait-ms", "700") as (process, url), httpx.Client(base_url=url) as client:
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(client.post, "/sample", json={"n": 1}) for _ in range(3)]
            _waiting(client, 3)
            process.send_signal(signal.SIGTERM)
            until = time.monotonic() + 5
            while (health := client.get("/health")).status_code == 200:
                assert time.monotonic() < until
            assert (health.status_code, health.json()["status"]) == (503, "draining")
            late = client.post("/sample", json={"n": 1})
            assert (late.status_code, late.headers["retry-after"]) == (503, "1")
            assert [answer.result().status_code for answer in asked] == [200, 200, 200]
            assert {answer.headers["connection"] for answer in (health, late, *(each.result() for each in asked))} == {"close"}
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize(("signals", "code", "status"), [(1, 0, 503), (2, 128 + signal.SIGINT, None)])
def test_a_stop_ends_within_its_grace_and_at_once_when_asked_again(
    folder: Path, signals: int, code: int, status: int | None
) -> None:
    options = ("--max-wait-ms", "10000", "--grace", "0.2" if signals == 1 else "20")
    with serving(folder, *options) as (process, url), httpx.Client(base_url=url) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/sample", json={"n": 1})
        _waiting(client, 1)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.15)
        assert process.wait(5) == code
        if status is None:
            assert isinstance(asked.exception(), httpx.TransportError)
        else:
            assert asked.result().status_code == status


def test_a_port_that_is_taken_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(typer.Exit) as stopped:
        serve(str(folder), port=taken.getsockname()[1])
    assert stopped.value.exit_code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"error: port \d+ of 127.0.0.1 cannot be listened on \(.+\): give another --port\n", said.err)


@pytest.mark.parametrize(
    ("model", "options", "code", "said"),
    [
        ("nothing.onnx", {}, 1, "nothing.onnx"),
        ("", {"device": "cuda"}, 2, "leave --device out"),
        ("", {"queue": 8, "max_examples": 9}, 2, "--queue"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, options: dict[str, Any], code: int, said: str
) -> None:
    with pytest.raises(typer.Exit) as stopped:
        serve(str(folder / model), port=0, **options)
    assert stopped.value.exit_code == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1

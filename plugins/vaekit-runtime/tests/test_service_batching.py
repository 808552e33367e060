"""How requests are joined and split, for a model of numpy that counts what it is given."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from vaekit_runtime import InputError
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.refused import Refused
from vaekit_runtime.service.served import Array, Model

httpx = pytest.importorskip("httpx")
for needed in ("fastapi", "uvicorn", "prometheus_client", "httptools"):
    pytest.importorskip(needed)


class Doubling:
    """A model whose codes are halves and whose means are doubles, which fails where an example is negative."""

    parts = ("encode", "decode")
    data_shape = latent_shape = (2,)
    classes: tuple[str, ...] = ()
    conditional = False

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def context(self, y: Any, n: int) -> None:
        return None

    def encode(self, x: Array, y: Any = None) -> Array:
        return self._computed(x, 0.5)

    def decode(self, z: Array, y: Any = None) -> Array:
        return self._computed(z, 2.0)

    def sample(self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None) -> Array:
        return self._computed(np.ones((n, 2), np.float32), temperature)

    def image(self, given: bytes, *, most_pixels: int) -> Array:
        raise InputError("these are no pictures")

    def _computed(self, values: Array, factor: float) -> Array:
        assert self.go.wait(5)
        self.sizes.append(len(values))
        if (values < 0).any():
            raise InputError("a negative number")
        if (values > 1e6).any():
            raise ZeroDivisionError("a bug")
        return values * np.float32(factor)


def served(limits: Limits, ask: Callable[[Doubling, Any, Any], Coroutine[Any, Any, None]]) -> None:
    """Have a coroutine ask a service, and see that nothing is left of it."""
    from vaekit_runtime.service.app import Service

    async def asked() -> None:
        model = Doubling()
        service = Service(Model(model, "doubling"), limits)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://here") as client:
            await ask(model, service, client)
        assert service.batcher.taken == 0
        assert service.guard.at_once == 0
        assert service.batcher.close()

    asyncio.run(asked())


def decode(client: Any, *rows: float) -> Any:
    return client.post("/decode", json={"z": [[row, row] for row in rows]})


def test_batches_are_full_and_a_large_request_is_split_among_small_ones() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        model.go.clear()
        first = asyncio.ensure_future(decode(client, 0))
        await _until(lambda: service.batcher.taken == 1)
        await asyncio.sleep(0.02)
        large = asyncio.ensure_future(decode(client, *range(10)))
        await _until(lambda: service.batcher.taken == 11)
        small = [asyncio.ensure_future(decode(client, number)) for number in (20, 30, 40)]
        await _until(lambda: service.batcher.taken == 14)
        order: list[Any] = []
        for task in (large, *small):
            task.add_done_callback(order.append)
        model.go.set()
        answers = await asyncio.gather(first, large, *small)
        assert order[-1] is large
        assert [answer.json()["x"] for answer in answers[2:]] == [[[40, 40]], [[60, 60]], [[80, 80]]]
        assert answers[1].json()["x"] == [[2 * number, 2 * number] for number in range(10)]
        assert model.sizes == [1, 4, 4, 4, 1]

    served(Limits(max_batch=4, max_wait=0.001), ask)


def test_an_example_waits_for_others_only_where_there_were_others() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        assert await _seconds(decode(client, 1)) >= 0.3
        assert await _seconds(decode(client, 1)) < 0.3
        model.go.clear()
        busy = [asyncio.ensure_future(decode(client, 1))]
        await _until(lambda: service.batcher.taken == 1)
        busy += [asyncio.ensure_future(decode(client, number)) for number in (2, 3)]
        await _until(lambda: service.batcher.taken == 3)
        model.go.set()
        await asyncio.gather(*busy)
        assert await _seconds(decode(client, 1)) >= 0.3
        assert model.sizes == [1, 1, 1, 2, 1]

    served(Limits(max_batch=4, max_wait=0.3), ask)


def test_a_full_batch_waits_for_nobody() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        assert await _seconds(decode(client, 1, 2, 3, 4)) < 5

    served(Limits(max_batch=4, max_wait=10), ask)


def test_a_request_that_fails_harms_none_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        answers = await asyncio.gather(decode(client, 1), decode(client, 2, -1), decode(client, 3), decode(client, 1e7))
        assert [answer.status_code for answer in answers] == [200, 422, 200, 500]
        assert answers[2].json()["x"] == [[6, 6]]
        assert answers[1].json() == {"error": "a negative number"}
        assert "bug" not in answers[3].text
        assert model.sizes == [5, 1, 2, 1, 1]

    served(Limits(max_wait=0.1), ask)
    assert "a bug" in caplog.text


def test_nobody_computes_for_a_client_that_went_away() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        model.go.clear()
        first = asyncio.ensure_future(decode(client, 0))
        await asyncio.sleep(0.05)
        gone = asyncio.Event()
        body = [{"type": "http.request", "body": b'{"z": [[1, 1], [2, 2]]}', "more_body": False}]

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError("nobody listens")

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/decode", "headers": headers, "query_string": b"", "root_path": ""}
        left = asyncio.ensure_future(service(scope, receive, send))
        await _until(lambda: service.batcher.taken == 3)
        gone.set()
        await left
        assert service.batcher.taken == 1
        model.go.set()
        await first
        await decode(client, 5)
        assert model.sizes == [1, 1]
        assert 'vaekit_requests_total{route="/decode",status="499"} 1.0' in (await client.get("/metrics")).text

    served(Limits(max_wait=0), ask)


def test_reconstructions_pass_both_queues_and_samples_come_alone() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        rows = [client.post("/reconstruct", json={"x": [[number, number]]}) for number in (1, 2, 3)]
        assert [answer.json()["x"][0][0] for answer in await asyncio.gather(*rows)] == [1, 2, 3]
        assert model.sizes == [3, 3]
        drawn = await client.post("/sample", json={"n": 6, "temperature": 0.5})
        assert drawn.json()["x"] == [[0.5, 0.5]] * 6
        assert model.sizes == [3, 3, 6]

    served(Limits(max_wait=0.1, max_batch=4), ask)


def test_what_takes_too_long_is_given_up() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        model.go.clear()
        answers = await asyncio.gather(decode(client, 1), client.post("/sample", json={"n": 1}))
        assert [answer.status_code for answer in answers] == [503, 503]
        assert "0.1 s" in answers[0].json()["error"]
        model.go.set()
        assert (await decode(client, 2)).status_code == 200

    served(Limits(timeout=0.1), ask)


def test_bodies_of_all_requests_are_bounded() -> None:
    async def ask(model: Doubling, service: Any, client: Any) -> None:
        more = asyncio.Event()

        async def slow() -> Any:
            yield b" " * 1000
            await more.wait()
            yield b'{"z": [[1, 1]]}'

        headers = {"content-type": "application/json"}
        slowly = [asyncio.ensure_future(client.post("/decode", content=slow(), headers=headers)) for _ in range(8)]
        await asyncio.sleep(0.1)
        answer = await client.post("/decode", content=b" " * 300 + b'{"z": [[1, 1]]}', headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        more.set()
        assert [(await answer).status_code for answer in slowly] == [200] * 8
        answer = await client.post("/decode", content=b" " * 900 + b'{"z": [[1, 1]]}', headers=headers)
        assert answer.status_code == 200

    served(Limits(max_bytes=1024), ask)


def test_there_is_room_for_no_more_than_the_queue_holds() -> None:
    from vaekit_runtime.service.batching import Batcher

    batcher = Batcher(Limits(queue=5, max_examples=5))
    with batcher.room(3), batcher.room(2):
        with pytest.raises(Refused) as refused, batcher.room(1):
            pass
        assert refused.value.status == 429
    with batcher.room(5):
        pass


async def _seconds(asked: Any) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asked
    return loop.time() - begun


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)

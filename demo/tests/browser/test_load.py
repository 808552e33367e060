"""A crowd for a minute: everybody is answered or told that the queue is full, and the server does not grow."""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.slow
USERS, SECONDS = 50, 60


def _resident(process: int) -> float:
    """MiB of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Crowd:
    """What visitors saw."""

    def __init__(self, url: str, panel: int) -> None:
        self.url, self.panel = url, panel
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.full: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()

    async def visit(self, number: int, until: float) -> None:
        """Use the page as a person would, one thing after another, with no pause."""
        choice = random.Random(number)
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            while time.monotonic() < until:
                what = choice.choices(("decode", "look", "samples", "api"), (12, 4, 2, 1))[0]
                begun = time.monotonic()
                try:
                    found = await (self._api(http, choice) if what == "api" else self._call(http, what, choice, number))
                except (httpx.HTTPError, ValueError) as error:
                    found = f"{type(error).__name__}: {error}"
                self.seconds[what].append(time.monotonic() - begun)
                if found and "queue is full" in found.lower():
                    self.full[what] += 1
                elif found:
                    self.wrong[f"{what}: {found[:200]}"] += 1

    async def _call(self, http: httpx.AsyncClient, what: str, choice: random.Random, number: int) -> str:
        asks: dict[str, Any] = {
            "decode": {"z": [choice.gauss(0, 1), choice.gauss(0, 1)]},
            "look": {"source": {"test": choice.randrange(100)}},
            "samples": {"n": 36, "seed": choice.randrange(1000)},
        }
        body = {"session_hash": f"user{number}", "component_id": self.panel, "fn_name": what}
        found = await http.post("/gradio_api/component_server", json={**body, "data": {"model": "plain", **asks[what]}})
        answer = found.json()
        return str(answer.get("error") or answer.get("detail") or "")

    async def _api(self, http: httpx.AsyncClient, choice: random.Random) -> str:
        data = [16, choice.randrange(1000), 1, "", "prior", "plain"]
        sent = await http.post("/gradio_api/call/sample", json={"data": data})
        answer = sent.json()
        if sent.status_code != 200:
            return str(answer.get("error") or answer.get("detail"))
        told = (await http.get(f"/gradio_api/call/sample/{answer['event_id']}")).text
        event, _, rest = told.strip().rpartition("event: ")[2].partition("\n")
        return "" if event == "complete" else json.dumps(rest)


def test_fifty_at_once_for_a_minute(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = httpx.get(f"{served.url}/config").json()
    panel = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "vk-explore")
    crowd = Crowd(served.url, panel)
    memory: list[float] = []

    async def watched(until: float) -> None:
        while time.monotonic() < until:
            memory.append(_resident(served.process.pid))
            await asyncio.sleep(1)

    async def together(seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(watched(until), *(crowd.visit(i, until) for i in range(USERS)))

    asyncio.run(together(SECONDS))
    said = [f"memory: {' '.join(f'{one:.0f}' for one in memory[:: max(1, len(memory) // 12)])} MiB"]
    for what, seconds in crowd.seconds.items():
        half, most = np.percentile(seconds, [50, 95]) * 1000
        told = f"{crowd.full[what]} told that it is full"
        said.append(f"{what}: {len(seconds):,} calls, p50 {half:.0f} ms, p95 {most:.0f} ms, {told}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(said) + "\n")
    assert not crowd.wrong
    assert set(crowd.seconds) == {"decode", "look", "samples", "api"}
    assert sum(map(len, crowd.seconds.values())) > 20 * USERS
    middle = len(memory) // 2
    assert np.mean(memory[-5:]) < 1.05 * np.mean(memory[middle : middle + 5])
    after = httpx.post(
        f"{served.url}/gradio_api/component_server",
        json={"session_hash": "after", "component_id": panel, "fn_name": "decode", "data": {"model": "plain", "z": [0, 0]}},
    )
    assert after.json()["n"] == 1

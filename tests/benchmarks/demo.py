"""How long the demo takes: from its command to an answer, and from the pointer to a picture.

    python tests/benchmarks/demo.py MODEL [SECONDS]

Starts `vaekit demo MODEL` three times and says how long each took to answer; then drags the cursor over the map in Chromium for
some seconds, 60 events a second, and says how long each picture took to be painted after the event that asked for it.
"""

import argparse
import math
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@contextmanager
def served(model: str) -> Iterator[tuple[str, float]]:
    """The address of a demo of a model, and the seconds from its command to its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    begin = time.perf_counter()
    command = [sys.executable, "-m", "vaekit", "demo", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(url, timeout=5).read()
                    break
                except OSError:
                    if process.poll() is not None:
                        raise SystemExit(f"the demo of {model} ended with code {process.returncode}") from None
                    time.sleep(0.02)
            yield url, time.perf_counter() - begin
        finally:
            process.terminate()


def dragged(page: Page, seconds: float) -> tuple[int, int, list[float]]:
    """Pointer events, pictures painted, and milliseconds from events to pictures."""
    page.wait_for_selector("#vk-explore [data-state=ready]", timeout=60_000)
    page.wait_for_timeout(1500)
    box = page.locator("#vk-explore canvas").first.bounding_box()
    assert box is not None
    before = page.evaluate("vaekit.stats.latencies.length = 0, vaekit.stats.pictures")
    begin, events = time.perf_counter(), 0
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.45 * box["height"])
    page.mouse.down()
    while (t := time.perf_counter() - begin) < seconds:
        across, down = 0.5 + 0.3 * math.cos(3 * t), 0.45 + 0.3 * math.sin(2 * t)
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        events += 1
        page.wait_for_timeout(max(0.0, 1000 * (begin + events / 60 - time.perf_counter())))
    page.mouse.up()
    latencies = page.evaluate("[...vaekit.stats.latencies]")
    return events, page.evaluate("vaekit.stats.pictures") - before, latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("seconds", type=float, nargs="?", default=10.0)
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for _ in range(3):
        with served(asked.model) as (url, took):
            print(f"from the command to an answer: {took:.2f} s")
    with served(asked.model) as (url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        events, painted, latencies = dragged(page, asked.seconds)
        browser.close()
    latencies.sort()
    print(f"dragged for {asked.seconds:g} s: {events} pointer events, {painted} pictures painted")
    print(
        f"pointer to picture, ms: median {statistics.median(latencies):.1f}, "
        f"90th percentile {latencies[int(0.9 * len(latencies))]:.1f}, most {latencies[-1]:.1f} ({len(latencies)} pictures)"
    )


if __name__ == "__main__":
    main()

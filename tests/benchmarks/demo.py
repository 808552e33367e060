"""How long the demo takes: from its command to an answer, and from the pointer to a picture.

    python tests/benchmarks/demo.py MODEL|PAGE [SECONDS]

Starts `vaekit demo MODEL` three times and says how long each took to answer; then drags the cursor over the map in Chromium for
some seconds, 60 events a second, and says how long each picture took to be painted after the event that asked for it. PAGE is
the index.html of `vaekit export MODEL --web`, opened from disk without a network: how long it took until it showed a picture
and until its model ran, the same drag, and how long a picture takes to be decoded, 200 times.
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
from pathlib import Path

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
    page.wait_for_selector("[data-state=ready]", timeout=60_000)
    page.wait_for_timeout(1500)
    box = page.get_by_role("application", name="Latent map").locator("canvas").first.bounding_box()
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


def said(name: str, milliseconds: list[float]) -> str:
    """A line of percentiles."""
    milliseconds = sorted(milliseconds)
    return (
        f"{name}, ms: median {statistics.median(milliseconds):.1f}, 90th percentile "
        f"{milliseconds[int(0.9 * len(milliseconds))]:.1f}, most {milliseconds[-1]:.1f} ({len(milliseconds)} pictures)"
    )


def drag(page: Page, seconds: float) -> None:
    """Drag the cursor, and say how long the pictures took."""
    events, painted, latencies = dragged(page, seconds)
    print(f"dragged for {seconds:g} s: {events} pointer events, {painted} pictures painted")
    print(said("pointer to picture", latencies))


def opened(page: Page, file: Path, seconds: float) -> None:
    """Say how long a page from disk takes."""
    page.context.set_offline(True)
    begin = time.perf_counter()
    page.goto(file.resolve().as_uri())
    page.wait_for_selector("[data-state=ready]", timeout=60_000)
    print(f"from opening to a picture: {time.perf_counter() - begin:.2f} s")
    page.evaluate("vaekit.site.server.decode({z: [...vaekit.place(vaekit.chosen).z], y: vaekit.place(vaekit.chosen).y})")
    print(f"until its model ran: {time.perf_counter() - begin:.2f} s")
    drag(page, seconds)
    print(said("decoded", page.evaluate(DECODED)))


DECODED = """async () => {
  const {z, y} = vaekit.place(vaekit.chosen);
  const taken = [];
  for (let i = 0; i < 200; i++) {
    const moved = z.map((value, k) => value + Math.sin(i + k));
    const begin = performance.now();
    await vaekit.site.server.decode({z: moved, y});
    taken.push(performance.now() - begin);
  }
  return taken;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL|PAGE")
    parser.add_argument("seconds", type=float, nargs="?", default=10.0)
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        if asked.model.endswith(".html"):
            opened(page, Path(asked.model), asked.seconds)
        else:
            for _ in range(3):
                with served(asked.model) as (_, took):
                    print(f"from the command to an answer: {took:.2f} s")
            with served(asked.model) as (url, _):
                page.goto(url)
                drag(page, asked.seconds)
        browser.close()


if __name__ == "__main__":
    main()

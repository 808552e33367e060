"""The command itself, serving two small models: nothing here is imported from the server's process."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from torch import Tensor

import vaekit
from vaekit import VAE, Examples, inputs

_WATCH = """
import os
import sys

_HERE = (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::")


def _watched(event, args):
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None  # others are sockets of this machine alone
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
    else:
        return
    if host not in _HERE:
        with open(os.environ["VAEKIT_TEST_WATCH"], "a") as file:
            file.write(f"{event} {host!r}\\n")


sys.addaudithook(_watched)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them go to one worker, and share its server and its browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("demo"))


@dataclass
class Served:
    """A `vaekit demo` that is running.

    Args:
        port: it listens on.
        process: itself.
        folder: of its own, with what it wrote to standard output and error, and its temporary files.
    """

    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    host: str = "127.0.0.1"
    seconds: float = field(default=0.0)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def stdout(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "err").read_text()

    @property
    def kept(self) -> list[Path]:
        """The folders for visitors' files."""
        return sorted((self.folder / "tmp").glob("vaekit-demo-*"))

    @property
    def outward(self) -> str:
        """Every attempt to reach another machine, or to look its name up."""
        file = self.folder / "outward"
        return file.read_text() if file.exists() else ""

    def ended(self, number: signal.Signals = signal.SIGTERM, seconds: float = 5) -> int:
        """The exit code, once it has been sent a signal; it has so long to end."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _surroundings(folder: Path) -> dict[str, str]:
    """The environment of a server whose every connection is watched, with a folder of its own for temporary files."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(_WATCH)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "PYTEST_"))}
    return environment | {
        "PYTHONPATH": str(folder / "watch"),
        "VAEKIT_TEST_WATCH": str(folder / "outward"),
        "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def _started(folder: Path, *arguments: str, port: int | None = None, python: list[str] | None = None) -> Iterator[Served]:
    """A block with a process that has begun to serve, or to fail; it is killed after where it has not ended."""
    chosen = port or _free_port()
    environment = _surroundings(folder)
    command = python or ["-m", "vaekit", "demo"]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, *command, *arguments, "--port", str(chosen)], stdout=out, stderr=err, env=environment, cwd=folder
        )
    try:
        yield Served(chosen, process, folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def _serving(folder: Path, *arguments: str, python: list[str] | None = None) -> Iterator[Served]:
    """A block with a server that answers. After it, SIGTERM ends it in time, cleanly, and nothing of it is left."""
    begun = time.monotonic()
    with _started(folder, *arguments, python=python) as served:
        while not _answers(served):
            assert served.process.poll() is None, f"it ended with {served.process.returncode}: {served.stderr}"
            assert time.monotonic() < begun + 90, f"no answer in 90 s: {served.stderr}"
            time.sleep(0.05)
        served.seconds = time.monotonic() - begun
        yield served
        if served.process.poll() is None:
            assert len(served.kept) == 1
            assert served.ended() == 0
        assert not served.kept
        assert "Traceback" not in served.stderr
        assert not served.outward


def _answers(served: Served) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(served.url, timeout=10).status_code == 200
    return False


@pytest.fixture(scope="session")
def started() -> Callable[..., Any]:
    return _started


@pytest.fixture(scope="session")
def serving() -> Callable[..., Any]:
    return _serving


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of two dimensions, and one of four that is told the class."""
    folder = tmp_path_factory.mktemp("runs")
    how: dict[str, Any] = {"epochs": 20, "batch_size": 64, "lr": 2e-3, "device": "cpu", "progress": False, "seed": 0}
    binary = {"binarize": "dynamic"}
    vaekit.fit("digits", data_options=binary, latent={"features": 2}, output=folder, name="plain", **how)
    vaekit.fit("digits", data_options=binary, context="labels", latent={"features": 4}, output=folder, name="told", **how)
    return {name: folder / name for name in ("plain", "told")}


@pytest.fixture(scope="session")
def models(runs: dict[str, Path]) -> dict[str, VAE]:
    """The same, loaded."""
    return {name: vaekit.load(run) for name, run in runs.items()}


@pytest.fixture(scope="session")
def digits(runs: dict[str, Path], models: dict[str, VAE]) -> Examples:
    """Their test set."""
    return inputs.examples_of(str(runs["plain"]), models["plain"])[0]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, runs: dict[str, Path]) -> Iterator[Served]:
    """A server of both, for all tests."""
    with _serving(tmp_path_factory.mktemp("served"), *map(str, runs.values())) as one:
        yield one


# A browser.

_CHROMIUM = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
]
_IN_FLIGHT = """
window.inFlight = {now: {}, most: {}};
const fetched = window.fetch.bind(window);
window.fetch = async (where, how) => {
  const name = /component_server/.test(where) ? JSON.parse(how.body).fn_name : "";
  const {now, most} = window.inFlight;
  now[name] = (now[name] ?? 0) + 1;
  most[name] = Math.max(most[name] ?? 0, now[name]);
  try {
    const reply = await fetched(where, how);
    if (name) await reply.clone().arrayBuffer();
    return reply;
  } finally {
    now[name]--;
  }
};
"""
"""How many calls of each kind are on their way, and the most that ever were."""


class Visit:
    """A page that somebody uses, and whatever goes wrong in it.

    Args:
        page: of the browser.
        url: of the server.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.troubles: list[str] = []
        page.on("console", lambda said: self._note(said.type == "error", f"console: {said.text}"))
        page.on("pageerror", lambda error: self._note(True, f"error: {error}"))
        page.on("dialog", lambda dialog: (self._note(True, f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda asks: self._note(not asks.url.startswith((f"{url}/", "data:", "blob:")), f"outside: {asks.url}")
        )
        page.on("response", lambda reply: self._note(reply.status >= 400, f"status {reply.status}: {reply.url}"))
        # Gradio ends the stream of events by itself once there is nothing more to wait for.
        page.on(
            "requestfailed",
            lambda asks: self._note(
                not ("/queue/data" in asks.url and asks.failure == "net::ERR_ABORTED"), f"failed: {asks.url} {asks.failure}"
            ),
        )

    def _note(self, wrong: bool, what: str) -> None:
        if wrong:
            self.troubles.append(what)

    @property
    def model(self) -> str:
        """The key of the model that is chosen."""
        return str(self.page.evaluate("vaekit.chosen"))

    @property
    def place(self) -> dict[str, Any]:
        """Where the cursor is, and the example that is chosen."""
        return dict(
            self.page.evaluate(
                """() => {
                  const {z, y, example} = vaekit.place(vaekit.chosen);
                  const {number, label, mean, sd} = example ?? {};
                  return {z: [...z], y, example: example && {number, label, mean, sd}};
                }"""
            )
        )

    def eventually(self, found: Callable[[], Any], what: str = "", seconds: float = 10) -> Any:
        """What `found` gives once that is true."""
        end = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            self.page.wait_for_timeout(20)
        return value

    def settle(self) -> None:
        """Wait until no call is on its way, nor any that follows from its answer."""
        still = """() => new Promise((done) => {
          let quiet = 0;
          const look = () => {
            const calls = Object.entries(inFlight.now).filter(([name, number]) => name && number);
            quiet = calls.length ? 0 : quiet + 1;
            if (quiet > 5) done(true);
            else setTimeout(look, 20);
          };
          look();
        })"""
        self.page.evaluate(still)

    def tab(self, name: str) -> Any:
        """Open a tab, also one that has no room in the row; what is in it."""
        tab = self.page.get_by_role("tab", name=name, exact=True)
        if tab.count() and tab.first.is_visible():
            tab.first.click()
        else:
            self.page.locator(".overflow-menu > button").first.click()
            self.page.locator(".overflow-dropdown button", has_text=name).first.click()
        if name in ("Explore", "Reconstruct", "Interpolate", "Compare"):
            self.ready(name)
            return self.page.locator(f"#vk-{name.lower()}")
        return self.page.locator(".tabitem:visible")

    def ready(self, name: str) -> None:
        """Wait until a panel has been laid out."""
        self.page.locator(f"#vk-{name.lower()} [data-state=ready]").first.wait_for(state="visible")

    def choose(self, title: str, panel: str = "Explore") -> None:
        """Choose a model at the top, and wait for a panel to follow."""
        before = self.model
        self.page.locator("#vk-model input").click()
        self.page.get_by_role("option", name=title, exact=True).click()
        self.eventually(lambda: self.model != before, f"the choice of {title}")
        self.ready(panel)

    def box(self, found: Any) -> tuple[float, float, float, float]:
        """Left, top, width and height of what is brought into view."""
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        return box["x"], box["y"], box["width"], box["height"]

    def click(self, found: Any, across: float, down: float) -> None:
        """Click at shares of its width and height."""
        left, top, width, height = self.box(found)
        self.page.mouse.click(left + across * width, top + down * height)

    def drag(self, found: Any, *shares: tuple[float, float], steps: int = 8) -> None:
        """Press at the first share of width and height, and let go at the last."""
        left, top, width, height = self.box(found)
        (x, y), *others = [(left + across * width, top + down * height) for across, down in shares]
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for x, y in others:
            self.page.mouse.move(x, y, steps=steps)
        self.page.mouse.up()

    def touch(self, found: Any, *shares: tuple[float, float]) -> None:
        """The same with a finger."""
        left, top, width, height = self.box(found)
        points = [{"x": left + across * width, "y": top + down * height} for across, down in shares]
        session = self.page.context.new_cdp_session(self.page)
        for kind, point in [("touchStart", points[0]), *(("touchMove", point) for point in points[1:])]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        session.detach()

    def pixels(self, canvas: Any) -> np.ndarray:
        """Of a canvas, (height, width, 4)."""
        width, height, text = canvas.evaluate(
            """canvas => {
              const {width, height} = canvas;
              const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
              return [width, height, vaekit.base64(new Uint8Array(data.buffer))];
            }"""
        )
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)

    def shows(self, canvas: Any, x: Tensor, what: str = "the picture") -> None:
        """Wait until a canvas shows an image (1, H, W) with values in [0, 1], to one of 255 shades."""
        wanted = (x.detach().squeeze().clamp(0, 1) * 255).round().numpy()

        def same() -> bool:
            shown = self.pixels(canvas)[..., 0].astype(float)
            return shown.shape == wanted.shape and float(np.abs(shown - wanted).max()) <= 1

        self.eventually(same, what)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; one a module, since asyncio cannot be used beside it."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium: `make browser` installs it where apt-get can")
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(chromium: Any) -> dict[tuple[int, bool], Any]:
    """Those that were opened, by width and whether they have a touch screen: what they have loaded is kept."""
    return {}


@pytest.fixture
def visiting(chromium: Any, contexts: dict[tuple[int, bool], Any]) -> Iterator[Callable[..., Visit]]:
    """Opens pages; after the test nothing may have gone wrong in any."""
    visits: list[Visit] = []

    def opened(served: Served, width: int = 1280, touch: bool = False, theme: str = "light") -> Visit:
        if (width, touch) not in contexts:
            size = {"width": width, "height": 844 if touch else 900}
            contexts[width, touch] = chromium.new_context(viewport=size, has_touch=touch, accept_downloads=True)
            contexts[width, touch].add_init_script(_IN_FLIGHT)
        visit = Visit(contexts[width, touch].new_page(), served.url)
        visits.append(visit)
        visit.page.set_default_timeout(15_000)
        visit.page.goto(f"{served.url}/?__theme={theme}")
        visit.ready("Explore")
        return visit

    yield opened
    for visit in visits:
        visit.page.close()
        assert not visit.troubles


@pytest.fixture
def visit(visiting: Callable[..., Visit], served: Served) -> Visit:
    """A page of both models, as wide as on a desk."""
    return visiting(served)

"""What several test modules share."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import vaekit

ROOT = Path(__file__).parents[1]
ALICE, BOB = "hf_" + "aLiCe4" * 6, "hf_" + "b0bB0b" * 6
"""The tokens of two people whom the Hub of the tests knows."""


def _beside(name: str) -> ModuleType:
    """A module beside this one; test modules import none by name."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_configure(config: pytest.Config) -> None:
    """The Hub's client reads its environment when it is imported: every test has the Hub of the tests, and no other."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests send, and a job in the background has ignored
    place = Path(tempfile.mkdtemp(prefix="vaekit-hub-"))
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))
    server = _beside("hubserver").HubServer(place / "hub", {ALICE: ("alice", "write"), BOB: ("bob", "write")})
    config.add_cleanup(lambda: [s.server_close() for s in server.servers])
    for name in [name for name in os.environ if name.startswith("HF_")]:
        del os.environ[name]
    os.environ |= {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(place / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }
    config.stash[_SERVER] = server


_SERVER = pytest.StashKey[Any]()


class Hub:
    """The Hub of the tests: what is there, what was asked, and what goes wrong."""

    alice, bob = ALICE, BOB

    def __init__(self, server: Any) -> None:
        self.server, self.state, self.url = server, server.hub, server.url

    def put(
        self, repo: str, files: Mapping[str, bytes] | Path, branch: str = "main", kind: str = "models", **settings: Any
    ) -> str:
        """Commit files, all there are then, and set `private` or `gated`; the commit."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        namespace, _, name = repo.partition("/")
        there = self.state.repo(kind, namespace, name)
        if not there.exists:
            fresh = {"private": False, "gated": False, "disabled": False, "granted": [], "sdk": None}
            there.save({**fresh, "createdAt": "", "lastModified": "", "branches": {}, "tags": {}})
        there.save(there.state | settings)
        entries = {name: self._entry(there, name, content) for name, content in files.items()}
        return there.add_commit(branch, entries, "a commit", "", namespace, there.state["branches"].get(branch))

    def _entry(self, repo: Any, name: str, content: bytes) -> dict[str, Any]:
        if not name.endswith((".safetensors", ".bin", ".pkl", ".pt")):
            return repo.put_blob(content)
        digest = hashlib.sha256(content).hexdigest()
        repo.lfs_path(digest).parent.mkdir(parents=True, exist_ok=True)
        repo.lfs_path(digest).write_bytes(content)
        return {"oid": "0" * 40, "size": len(content), "lfs": {"oid": digest, "size": len(content), "pointerSize": 130}}

    def asked(self) -> list[str]:
        """What was asked since this was last called: method and path, the rest of the address left out."""
        with self.state.lock:
            log = [f"{entry['method']} {re.sub('[?].*', '', entry['path'])}" for entry in self.state.log]
            self.state.log.clear()
        return log

    def fault(self, kind: str, path: str = "", **more: Any) -> None:
        """Have requests whose path matches go wrong."""
        self.state.faults.append({"kind": kind, "path": path, **more})


@pytest.fixture(scope="session")
def _hub_server(pytestconfig: pytest.Config) -> Iterator[Any]:
    server = pytestconfig.stash[_SERVER].start()
    yield server
    server.stop()


@pytest.fixture
def hub(_hub_server: Any) -> Iterator[Hub]:
    """A Hub with nothing in it."""
    found = Hub(_hub_server)
    yield found
    found.state.faults.clear()
    found.state.log.clear()
    shutil.rmtree(found.state.root, ignore_errors=True)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits a second between its tries: not here."""
    quick = SimpleNamespace(**{name: getattr(time, name) for name in dir(time) if not name.startswith("_")})
    quick.sleep = lambda seconds: None
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", quick)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test draws the same, alone or among others."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def make() -> Callable[..., vaekit.VAE]:
    """A small model of the given parts, in evaluation mode."""

    def build(data_shape: tuple[int, ...] = (1, 6, 5), **parts: Any) -> vaekit.VAE:
        small = {"encoder": {"hidden": [8]}, "latent": {"features": 2}, "decoder": {"hidden": [8]}}
        model, _ = vaekit.build(vaekit.Config(data_shape=data_shape, **{**small, **parts}))
        return model.eval()

    return build


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """Run code in a fresh process, away from the checkout; its standard output."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def environments() -> type:
    """The class of new environments; test modules import no module beside them."""
    return _beside("environment").Environment

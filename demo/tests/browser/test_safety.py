"""What a stranger can make the server do: answer, refuse in a sentence, and nothing else."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

_OPEN = """
import sys
from vaekit_demo import launching

shown = launching._shown


def later(*given):
    from vaekit_demo import app

    app._SECONDS_KEPT = 2
    return shown(*given)


launching._shown = later
sys.argv[1:1] = ["demo"]
from vaekit.cli import main

main()
"""
"""The command, where visitors' files are kept for two seconds rather than ten minutes."""


@pytest.fixture(scope="module")
def http(served: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as one:
        yield one


@pytest.fixture(scope="module")
def config(http: httpx.Client) -> Any:
    return http.get("/config").json()


@pytest.fixture(scope="module")
def panel(config: Any) -> int:
    """The number of the panel that has the calls."""
    return next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "vk-explore")


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _elements(config: Any) -> set[str]:
    return {one["props"].get("elem_id") for one in config["components"]}


def _event(http: httpx.Client, number: int, data: list[Any]) -> dict[str, Any]:
    """What comes of an event of the page, as its queue says."""
    session = uuid.uuid4().hex
    joined = http.post("/gradio_api/queue/join", json={"data": data, "fn_index": number, "session_hash": session})
    assert joined.status_code == 200, joined.text
    with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as told:
        for line in told.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return dict(message)
    raise AssertionError("the queue ended without an answer")


# Nothing leaves.


def test_attempts_to_reach_out_would_be_seen(started: Any, tmp_path: Path) -> None:
    code = "import socket, sys\ntry: socket.create_connection(('nowhere.invalid', 80), 1)\nexcept OSError: pass"
    with started(tmp_path, python=["-c", code]) as one:
        assert one.process.wait(30) == 0
        assert "getaddrinfo 'nowhere.invalid'" in one.outward


def test_nothing_is_fetched_for_a_visitor(http: httpx.Client, served: Any, config: Any) -> None:
    file = {"path": "http://nowhere.invalid/x.png", "meta": {"_type": "gradio.FileData"}}
    for number, function in enumerate(config["dependencies"]):
        if function["backend_fn"]:
            data = [file for _ in function["inputs"]]
            said = _event(http, number, data)
            if data:
                assert "Nothing is fetched" in said["output"]["error"]
    for address in ("https://nowhere.invalid/", "https://nowhere.hf.space/"):
        assert http.get(f"/gradio_api/proxy={address}").status_code == 400
    assert not served.outward


def test_the_page_names_no_other_place(http: httpx.Client, config: Any) -> None:
    assert config["analytics_enabled"] is False
    page = http.get("/")
    policy = page.headers["content-security-policy"]
    assert "http" not in policy
    assert "default-src 'self'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"


# Where it listens, and for whom.


def test_it_listens_on_loopback_alone(served: Any) -> None:
    assert _connects("127.0.0.1", served.port)
    assert not _connects("127.0.0.2", served.port)


def test_training_is_offered_on_loopback(config: Any) -> None:
    assert {"vk-train-button", "vk-stop-button"} <= _elements(config)


@pytest.mark.slow
def test_on_every_address(serving: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    """A server for everybody: without training, clean after seconds, and gone on Ctrl-C though somebody is there."""
    with serving(tmp_path, str(runs["plain"]), "--host", "0.0.0.0", python=["-c", _OPEN]) as one:
        assert _connects("127.0.0.2", one.port)
        with httpx.Client(base_url=one.url, timeout=30) as http:
            config = http.get("/config").json()
            assert "vk-generate-button" in _elements(config)
            assert not any("train" in str(name) or "stop" in str(name) for name in _elements(config))
            assert "trained" not in {function["api_name"] for function in config["dependencies"]}
            _cleaned(http, one)
            _ended_with_company(http, one)


def _cleaned(http: httpx.Client, served: Any) -> None:
    """What a visitor sends and is given is there, and a while later it is not."""
    (path,) = http.post("/gradio_api/upload", files={"files": ("a.png", b"bytes")}).json()
    assert Path(path).is_file()
    event = http.post("/gradio_api/call/sample", json={"data": [1, 0, 1, "", "prior", "plain"]}).json()["event_id"]
    answer = http.get(f"/gradio_api/call/sample/{event}").text
    picture = json.loads(answer.split("data: ")[-1])[0]["path"]
    assert Path(picture).is_file()
    deadline = time.monotonic() + 20
    while any(one.is_file() for one in served.kept[0].rglob("*")):
        assert time.monotonic() < deadline, "files of visitors are still there"
        time.sleep(0.2)


def _ended_with_company(http: httpx.Client, served: Any) -> None:
    """Somebody's page holds a stream open while Ctrl-C is pressed."""
    with http.stream("GET", "/gradio_api/heartbeat/company") as stream:
        assert stream.status_code == 200
        threading.Thread(target=lambda: _drained(stream), daemon=True).start()
        assert served.ended(signal.SIGINT) == 0


def _drained(stream: httpx.Response) -> None:
    try:
        for _ in stream.iter_bytes():
            pass
    except httpx.HTTPError:
        pass


def test_ended_before_it_serves(started: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    with started(tmp_path, str(runs["plain"])) as one:
        deadline = time.monotonic() + 60
        while not one.kept:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)  # it is importing by now
        assert one.ended(seconds=15) in (0, 143)
        assert not one.kept
        assert "Traceback" not in one.stderr


# What cannot be started.


def test_what_cannot_be_started_says_why_in_one_line(served: Any, tmp_path: Path) -> None:
    tries = {
        ("anything", "--port", str(served.port)): (2, "Address already in use"),
        ("no-such-run", "--port", "0"): (2, "--port"),
        ("no-such-run",): (1, "no folder no-such-run"),
        (str(tmp_path),): (1, "no config.json"),
        ("someone/no-such-model",): (1, "HF_HUB_OFFLINE"),
    }
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", _TRIED, json.dumps(list(tries))],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    for (code, said), (ended, out, err) in zip(tries.values(), json.loads(found.stdout), strict=True):
        assert (ended, out) == (code, "")
        assert said in err
        assert "Traceback" not in err
        assert sum("error" in line.lower() for line in err.splitlines()) == 1


_TRIED = """
import contextlib, io, json, sys
from vaekit.cli import main

said = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["vaekit", "demo", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code
    said.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(said))
"""
"""The command again and again, in one process since its imports take seconds."""


# Files.


def test_no_file_but_its_own(http: httpx.Client, served: Any, runs: dict[str, Path]) -> None:
    import vaekit_demo

    source = Path(vaekit_demo.__file__)
    (kept,) = served.kept
    there = [runs["plain"] / "run.json", Path("/etc/passwd"), source, source.with_name("app.py"), Path("/proc/self/environ")]
    there += [served.folder / "err", kept.parent]
    climbing = [f"{kept}/../../err", f"{kept}/%2e%2e/%2e%2e/err", "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd"]
    other = ["~/.bashrc", "file:///etc/passwd", "//etc/passwd", "\\etc\\passwd", "demo.py", ".", "", "x%00", "a" * 5000]
    for path in [*map(str, there), *climbing, *other]:
        for route in ("/gradio_api/file=", "/gradio_api/file/"):
            found = http.get(route + path, follow_redirects=True)
            assert found.status_code in (400, 403, 404), (route, path)
            assert "root:" not in found.text
            assert "Traceback" not in found.text
    for path in ("/static/%2e%2e/routes.py", "/assets/%2e%2e/%2e%2e/routes.py", "/svelte/%2e%2e/%2e%2e/routes.py"):
        assert http.get(path).status_code in (403, 404)


def test_a_file_that_is_sent_stays_among_the_visitors(http: httpx.Client, served: Any) -> None:
    for name in ("../../../escaped.png", "/escaped.png", "..\\escaped.png"):
        (path,) = http.post("/gradio_api/upload", files={"files": (name, b"bytes")}).json()
        assert Path(path).resolve().is_relative_to(served.kept[0])
    assert not list(served.folder.glob("*escaped*"))


# Calls of the panels.

JUNK: list[Any] = [
    None,
    [],
    "x",
    3,
    1e300,
    True,
    {},
    {"model": "plain"},
    {"model": 3, "z": [0, 0]},
    {"model": {"a": 1}, "z": [0, 0]},
    {"model": "plain", "z": [0]},
    {"model": "plain", "z": [[0], [0]]},
    {"model": "plain", "z": ["0", "0"]},
    {"model": "plain", "z": [0] * 200_000},
    {"model": "plain", "z": [1e300, 0]},
    {"model": "plain", "z": {"0": 0}},
    {"model": "plain", "z": [0, 0], "y": "3"},
    {"model": "plain", "z": [0, 0], "z2": 0},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
]


def _unrevealing(found: httpx.Response, served: Any) -> None:
    for secret in ("Traceback", "site-packages", str(served.folder), "object at 0x"):
        assert secret not in found.text


@pytest.mark.parametrize("data", JUNK, ids=range(len(JUNK)))
def test_calls_with_junk(http: httpx.Client, served: Any, panel: int, data: Any) -> None:
    for name in ("decode", "look", "samples"):
        body = {"session_hash": "junk", "component_id": panel, "fn_name": name, "data": data}
        found = http.post("/gradio_api/component_server", json=body)
        assert found.status_code == 200
        if name == "samples" and data == {"model": "plain"}:
            assert found.json()["pictures"]["n"] == 16
            continue
        error = found.json()["error"]
        assert error.endswith(".")
        assert "\n" not in error
        assert "went wrong" not in error
        _unrevealing(found, served)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"fn_name": name} for name in ("nothing", "__init__", "__class__", "postprocess", "preprocess", "", "get_config")),
        *({"fn_name": name} for name in (3, None, ["decode"])),
        *({"component_id": number} for number in (10**6, -1, "x", None, [1], 2**70, 1.5)),
        *({"session_hash": session} for session in (None, 3, [])),
    ],
    ids=str,
)
def test_calls_of_nothing(http: httpx.Client, served: Any, panel: int, wrong: dict[str, Any]) -> None:
    right = {"session_hash": "junk", "component_id": panel, "fn_name": "decode", "data": {"model": "plain", "z": [0, 0]}}
    assert "data" in http.post("/gradio_api/component_server", json=right).json()
    found = http.post("/gradio_api/component_server", json=right | wrong)
    assert 400 <= found.status_code < 500
    _unrevealing(found, served)
    without = {name: value for name, value in right.items() if name not in wrong}
    assert 400 <= http.post("/gradio_api/component_server", json=without).status_code < 500


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{not json"),
        ("application/json", b"[1, 2]"),
        ("application/json", b'"x"'),
        ("application/json", b"\xff\xfe\x00"),
        ("application/json", b"[" * 100_000),
        ("application/json", b""),
        ("application/json", b"x" * 10**7),
        ("text/plain", b"x"),
        ("application/x-www-form-urlencoded", b"a=b"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"x"),
        ("multipart/form-data; boundary=x", b'--x\r\ncontent-disposition: form-data; name="fn_name"\r\n\r\nx\r\n--x--\r\n'),
    ],
)
@pytest.mark.parametrize("route", ["component_server", "call/sample", "call/v2/sample", "queue/join"])
def test_bodies_that_are_none(http: httpx.Client, served: Any, route: str, kind: str, body: bytes) -> None:
    found = http.post(f"/gradio_api/{route}", content=body, headers={"content-type": kind})
    assert 400 <= found.status_code < 500
    assert (found.status_code == 413) == (len(body) > 8 * 2**20)
    _unrevealing(found, served)


def test_requests_for_what_is_not_there(http: httpx.Client, served: Any) -> None:
    for route, body in {
        "call/nothing": {"data": []},
        "call/v2/nothing": {},
        "call/v2/sample": {"number": 3},
        "run/nothing": {"data": []},
        "queue/join": {"data": [], "fn_index": 999, "session_hash": "junk"},
        "vibe-edit": {"prompt": "x"},
        "vibe-code": {"code": "x"},
    }.items():
        found = http.post(f"/gradio_api/{route}", json=body)
        assert 400 <= found.status_code < 500, route
        _unrevealing(found, served)


def test_events_with_junk(http: httpx.Client, served: Any, config: Any) -> None:
    """Every event of the page, called past the page."""
    for number, function in enumerate(config["dependencies"]):
        if not function["inputs"] or not function["backend_fn"] or function["api_name"] == "trained":
            continue
        for value in (None, "junk", [], {}, -1, 1e300, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}):
            said = _event(http, number, [value for _ in function["inputs"]])
            if not said["success"]:
                assert said["output"]["error"], (number, value)
                assert "went wrong" not in said["output"]["error"], (number, value)
                assert "Traceback" not in str(said)
                assert str(served.folder) not in str(said)


# What Gradio would offer.


def test_no_more_is_offered_than_is_meant(http: httpx.Client, config: Any) -> None:
    status = {
        "/monitoring": 403,
        "/monitoring/summary": 403,
        "/monitoring/key": 403,
        "/gradio_api/monitoring": 404,
        "/gradio_api/runs": 404,
        "/gradio_api/run-history/buckets": 404,
        "/gradio_api/vibe-code": 403,
        "/gradio_api/profiling/summary": 404,
        "/gradio_api/mcp/": 404,
        "/gradio_api/mcp/sse": 404,
        "/docs": 404,
        "/redoc": 404,
    }
    assert {path: http.get(path).status_code for path in status} == status
    assert not config["enable_queue"] or config["protocol"] == "sse_v3"
    described = http.get("/gradio_api/openapi.json").json()
    assert {"/gradio_api/call/v2/sample", "/gradio_api/call/v2/decode"} <= set(described["paths"])
    assert not any("Train" in json.dumps(path) or "trained" in path for path in described["paths"])


def test_only_what_is_named_is_an_endpoint(http: httpx.Client) -> None:
    found = http.get("/gradio_api/info").json()
    assert set(found["named_endpoints"]) == {"/sample", "/reconstruct", "/encode", "/decode", "/interpolate"}
    assert found["unnamed_endpoints"] == {}


# At the end.


def test_so_far_nothing_went_out_and_nothing_broke(served: Any) -> None:
    """The same is asked of each server once more when it is ended."""
    assert served.process.poll() is None
    assert not served.outward
    assert "Traceback" not in served.stderr

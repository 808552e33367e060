"""A small stand-in for the Hugging Face Hub, for tests on one machine.

Speaks the part of the Hub's HTTP API that `huggingface_hub` 2.4 uses for model, dataset and Space repositories, so that the
*real* client is tested over *real* HTTP without the internet.

`HF_HUB_DISABLE_XET=1` is needed for uploads of large files: with `hf_xet` installed the client goes to Xet storage, which this
server does not have (it answers 501 and says so). Downloads need nothing.

Standard library only (PyYAML is used for model-card metadata where it is installed). Binds 127.0.0.1
only. Two ports are used: the API ("Hub") and the blob store ("CDN", a different origin, as on the
real Hub). Large files are redirected to the CDN with a signed URL, and the CDN refuses a request
that carries an Authorization header, so a client that leaks its token to a CDN fails its test.

For tests there are, on the Hub port:
    GET    /_test/log       every request so far: method, path, status, user, user_agent, origin
    DELETE /_test/log       forget them
    POST   /_test/fault     {"path": regex, "kind": "status|truncate|corrupt|drop|delay|header",
                             "times": 1, "method": "GET", ...}: make the next matching requests misbehave
                            (status: + "status", "message", "headers"; delay: + "seconds"; header: + "headers",
                            null removes one; truncate and corrupt act on file bodies; drop closes the line)
    DELETE /_test/fault     forget them
    POST   /_test/unsafe    {"on": true}: accept any path name in a commit (for hostile repositories)
    POST   /_test/grant     {"repo": "models/alice/x", "user": "bob"}: let a user into a gated repo

Not done: Xet, multipart LFS uploads, pull requests beyond opening one, discussions, organisations, Space builds.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
import traceback
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

try:
    import yaml
except ImportError:  # card metadata is then left out of the repo info
    yaml = None

HOST = "127.0.0.1"
TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
LFS_BYTES = 5_000_000  # a larger file is always LFS, whatever .gitattributes says
MAX_JSON = 256 * 1024 * 1024  # NDJSON commits carry small files in base64
PAGE = 1000  # entries per page of a tree listing
NAME = re.compile(r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9_](?:[\w\-.]{0,94}[A-Za-z0-9_])?", re.ASCII)
SHA = re.compile(r"[0-9a-f]{40}")
LARGE = (
    "7z arrow bin bz2 ckpt gz h5 joblib model msgpack npy npz onnx parquet pb pickle pkl pt pth rar safetensors tar tflite tgz "
    "wasm xz zip zst"
)
GITATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in re.findall(r"\S+", LARGE))


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def git_blob_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, tmp = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(fd, "wb") as f:
        f.write(data)
    os.replace(tmp, path)


class HubError(Exception):
    """An answer with an error status; `code` becomes the X-Error-Code header the client reads."""

    def __init__(self, status: int, message: str, code: str | None = None, body: dict | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.body = {"error": message, **(body or {})}
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}


def repo_not_found(user: str | None) -> HubError:
    # The real Hub answers 401 to an unknown user and 404 to a known one, and does not tell a private
    # repository of someone else from one that does not exist.
    return HubError(404 if user else 401, "Repository not found", "RepoNotFound")


# ---------------------------------------------------------------------------------------- storage


class Repo:
    """A repository on disk: repo.json (settings, refs), commits/*.json, git/<sha1>, lfs/<sha256>."""

    def __init__(self, root: Path, kind: str, namespace: str, name: str):
        self.kind, self.namespace, self.name, self.id = kind, namespace, name, f"{namespace}/{name}"
        self.dir = root / kind / namespace / name
        self.prefix = "" if kind == "models" else f"{kind}/"

    @property
    def exists(self) -> bool:
        return (self.dir / "repo.json").is_file()

    @property
    def state(self) -> dict:
        return json.loads((self.dir / "repo.json").read_text())

    def save(self, state: dict) -> None:
        write_atomically(self.dir / "repo.json", json.dumps(state, indent=1).encode())

    def commit(self, oid: str) -> dict:
        return json.loads((self.dir / "commits" / f"{oid}.json").read_text())

    def resolve(self, revision: str) -> str:
        """Branch, tag or (abbreviated, at least 7 digits) commit -> commit id."""
        state = self.state
        for refs in (state["branches"], state["tags"]):
            if revision in refs:
                return refs[revision]
            for kind in ("heads", "tags"):
                if revision.startswith(f"refs/{kind}/") and revision[len(f"refs/{kind}/") :] in refs:
                    return refs[revision[len(f"refs/{kind}/") :]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = [p.stem for p in (self.dir / "commits").glob(f"{revision}*.json")]
            if len(found) == 1:
                return found[0]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(self, branch: str, files: dict, title: str, message: str, author: str, parent: str | None) -> str:
        body = {
            "parents": [parent] if parent else [],
            "title": title,
            "message": message,
            "author": author,
            "date": now(),
            "files": files,
            "nonce": secrets.token_hex(8),
        }
        raw = json.dumps(body, sort_keys=True).encode()
        oid = hashlib.sha1(raw).hexdigest()
        write_atomically(self.dir / "commits" / f"{oid}.json", raw)
        state = self.state
        state["branches"][branch] = oid
        state["lastModified"] = body["date"]
        self.save(state)
        return oid

    def put_blob(self, data: bytes) -> dict:
        oid = git_blob_oid(data)
        write_atomically(self.dir / "git" / oid, data)
        return {"oid": oid, "size": len(data)}

    def lfs_path(self, sha256: str) -> Path:
        return self.dir / "lfs" / sha256

    def content_path(self, entry: dict) -> Path:
        return self.lfs_path(entry["lfs"]["oid"]) if "lfs" in entry else self.dir / "git" / entry["oid"]

    def read_text(self, files: dict, path: str) -> str | None:
        if path not in files:
            return None
        return self.content_path(files[path]).read_text(encoding="utf-8", errors="replace")

    def lfs_patterns(self, files: dict) -> list[str]:
        lines = (self.read_text(files, ".gitattributes") or "").splitlines()
        return [line.split()[0] for line in lines if "filter=lfs" in line.split()[1:]]


def card_metadata(text: str | None) -> dict:
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---\s*(\r?\n|$)", text or "", re.DOTALL)
    if match is None or yaml is None:
        return {}
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(match.group(1))):
        raise ValueError("aliases are not allowed")  # a few of them can expand to gigabytes
    data = yaml.safe_load(match.group(1))
    if data is not None and not isinstance(data, dict):
        raise ValueError("the metadata block is not a mapping")
    return data or {}


def safetensors_info(path: Path) -> dict | None:
    """Parameter counts by dtype, from the header alone, as the real Hub shows them."""
    try:
        with path.open("rb") as f:
            size = int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(size)) if size < 1_000_000 else {}
        counts: dict[str, int] = {}
        for key, info in header.items():
            if key != "__metadata__":
                n = 1
                for d in info["shape"]:
                    n *= d
                counts[info["dtype"]] = counts.get(info["dtype"], 0) + n
        return {"parameters": counts, "total": sum(counts.values())} if counts else None
    except Exception:  # tests upload hostile files; here they are only something without an info
        return None


class Hub:
    """State shared by the two servers."""

    def __init__(self, root: Path, tokens: dict[str, tuple[str, str]]):
        self.root, self.tokens = Path(root), tokens
        self.lock = threading.RLock()
        self.secret = secrets.token_bytes(16)
        self.faults: list[dict] = []
        self.log: list[dict] = []
        self.unsafe = False
        self.url = self.cdn = ""

    def repo(self, kind: str, namespace: str, name: str) -> Repo:
        if not NAME.fullmatch(namespace) or not NAME.fullmatch(name):
            raise HubError(400, f"Invalid repository name: {namespace}/{name}")
        return Repo(self.root, kind, namespace, name)

    def sign(self, *parts: str) -> str:
        return hmac.new(self.secret, "\0".join(parts).encode(), "sha256").hexdigest()

    def signed_url(self, verb: str, repo: Repo, sha256: str) -> str:
        path = f"/{repo.kind}/{repo.id}/{sha256}"
        return f"{self.cdn}{path}?signature={self.sign(verb, path)}"


# ---------------------------------------------------------------------------------------- requests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hubserver"
    hub: Hub
    verbose = False
    origin = "hub"

    # -- plumbing

    def log_message(self, format: str, *args: object) -> None:
        if self.verbose:
            super().log_message(format, *args)

    def handle_any(self) -> None:
        try:
            try:
                self.answer()
            except HubError as e:
                headers = {"X-Error-Message": e.message, **e.headers}
                if e.code:
                    headers["X-Error-Code"] = e.code
                self.send_json(e.body, e.status, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as e:  # a fault of this server: say so, do not look like a broken network
            traceback.print_exc()
            self.close_connection = True
            if not self.status:
                self.send_json({"error": f"hubserver: {type(e).__name__}: {e}"}, 500)

    def answer(self) -> None:
        self.status, self.user, self.role, self.body_read = 0, None, None, False
        url = urlsplit(self.path)
        self.url_path = url.path
        self.query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        self.fault = self.take_fault()
        kind = (self.fault or {}).get("kind")
        if kind == "delay":
            time.sleep(self.fault["seconds"])
        elif kind == "drop":
            self.close_connection = True
            return self.record()
        elif kind == "status":
            error = HubError(self.fault["status"], self.fault.get("message", "injected fault"))
            error.headers = self.fault.get("headers", {})
            raise error
        self.authenticate()
        self.route()

    def record(self) -> None:
        if not self.url_path.startswith("/_test/"):
            entry = {
                "origin": self.origin,
                "method": self.command,
                "path": self.path,
                "status": self.status,
                "user": self.user,
                "user_agent": self.headers.get("User-Agent", ""),
                "range": self.headers.get("Range"),
            }
            with self.hub.lock:
                self.hub.log.append(entry)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def take_fault(self) -> dict | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.get("method", self.command) == self.command and re.search(fault["path"], self.path):
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        self.hub.faults.remove(fault)
                    return dict(fault)
        return None

    def authenticate(self) -> None:
        header = self.headers.get("Authorization")
        if header is None:
            return
        known = self.hub.tokens.get(header.removeprefix("Bearer ").strip())
        if known is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        self.user, self.role = known

    def body_chunks(self):
        """The request's body, plain or chunked."""
        self.body_read = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                while size:
                    data = self.rfile.read(min(size, 1 << 20))
                    if not data:
                        raise ConnectionResetError
                    size -= len(data)
                    yield data
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                data = self.rfile.read(min(left, 1 << 20))
                if not data:
                    raise ConnectionResetError
                left -= len(data)
                yield data

    def body(self) -> bytes:
        data = bytearray()
        for chunk in self.body_chunks():
            data += chunk
            if len(data) > MAX_JSON:
                self.close_connection = True
                raise HubError(413, "Payload too large")
        return bytes(data)

    def json_body(self) -> dict:
        try:
            data = json.loads(self.body() or b"{}")
        except ValueError:
            raise HubError(400, "The body is not JSON") from None
        if not isinstance(data, dict):
            raise HubError(400, "The body is not a JSON object")
        return data

    def begin(self, status: int, headers: dict[str, str]) -> None:
        if not self.body_read:  # an unread body would be taken for the next request
            for _ in self.body_chunks():
                pass
        self.status = status
        self.record()  # before the answer, so that a client that has it finds it in the log
        self.send_response(status)
        if (self.fault or {}).get("kind") == "header":
            headers = {k: v for k, v in {**headers, **self.fault["headers"]}.items() if v is not None}
        for key, value in headers.items():
            self.send_header(key, re.sub(r"[^\x20-\x7e]+", " ", value))  # an error text may hold line breaks
        self.end_headers()

    def send_json(self, data: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(data).encode()
        self.begin(status, {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(raw)

    def send_file(self, path: Path, headers: dict[str, str]) -> None:
        size = path.stat().st_size
        start, stop, status = 0, size, 200
        match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)-(\d*)\s*", self.headers.get("Range", ""))
        if match and any(match.groups()):
            first, last = match.groups()
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= size or stop <= start:
                raise HubError(416, "Range not satisfiable", Content_Range=f"bytes */{size}")
            status = 206
            headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        kind = (self.fault or {}).get("kind")
        self.begin(status, {"Accept-Ranges": "bytes", "Content-Length": str(stop - start), **headers})
        if self.command == "HEAD":
            return
        if kind == "truncate":
            stop = start + (stop - start) // 2
            self.close_connection = True
        with path.open("rb") as f:
            f.seek(start)
            while start < stop:
                data = f.read(min(1 << 20, stop - start))
                if kind == "corrupt":  # same length, other bytes
                    data = bytes(b ^ 0xFF for b in data[:64]) + data[64:]
                self.wfile.write(data)
                start += len(data)

    def route(self) -> None:
        for method, pattern, function in self.ROUTES:
            match = pattern.fullmatch(self.url_path)
            if match and self.command in method.split("|"):
                return function(self, **{k: unquote(v) for k, v in match.groupdict().items() if v is not None})
        raise HubError(404, f"No such endpoint: {self.command} {self.url_path}")


def route(method: str, pattern: str):
    pattern = (
        pattern.replace("{kind}", "(?P<kind>models|datasets|spaces)")
        .replace("{repo}", "(?P<namespace>[^/]+)/(?P<name>[^/]+)")
        .replace("{rev}", "(?P<rev>[^/]+)")
        .replace("{path}", "(?P<path>.+)")
    )

    def mark(function):
        function.routes = [*getattr(function, "routes", []), (method, re.compile(pattern), function)]
        return function

    return mark


def collect_routes(cls):
    cls.ROUTES = [r for f in vars(cls).values() for r in getattr(f, "routes", [])]
    return cls


@collect_routes
class CdnHandler(Handler):
    """Signed blob URLs, as on S3/CloudFront: no tokens here."""

    origin = "cdn"

    def authenticate(self) -> None:
        if self.headers.get("Authorization") is not None:
            raise HubError(400, "The client sent its Hub token to the CDN")

    def blob(self, verb: str, kind: str, namespace: str, name: str, sha: str) -> tuple[Repo, Path]:
        if not hmac.compare_digest(self.query.get("signature", ""), self.hub.sign(verb, self.url_path)):
            raise HubError(403, "Signature does not match")
        repo = self.hub.repo(kind, namespace, name)
        return repo, repo.lfs_path(sha)

    @route("GET|HEAD", "/{kind}/{repo}/(?P<sha>[0-9a-f]{64})")
    def download(self, **where: str) -> None:
        self.send_file(self.blob("get", **where)[1], {"ETag": f'"{where["sha"]}"', "Content-Type": "application/octet-stream"})

    @route("PUT", "/{kind}/{repo}/(?P<sha>[0-9a-f]{64})")
    def upload(self, **where: str) -> None:
        _, path = self.blob("put", **where)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        fd, tmp = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as f:
                for chunk in self.body_chunks():
                    digest.update(chunk)
                    f.write(chunk)
            if digest.hexdigest() != where["sha"]:
                raise HubError(400, "The content does not have the announced sha256")
            os.replace(tmp, path)
        finally:
            Path(tmp).unlink(missing_ok=True)
        self.begin(200, {"ETag": f'"{where["sha"]}"', "Content-Length": "0"})


@collect_routes
class HubHandler(Handler):
    # -- access

    def need_user(self) -> str:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        return self.user

    def readable(self, kind: str, namespace: str, name: str, files: bool = False) -> Repo:
        """The repository, if this user may see it (and, with `files`, may read its files)."""
        try:
            repo = self.hub.repo(kind, namespace, name)
        except HubError:
            raise repo_not_found(self.user) from None
        if not repo.exists or (repo.state["private"] and self.user != namespace):
            raise repo_not_found(self.user)
        state = repo.state
        if state["disabled"]:
            raise HubError(403, "Access to this resource is disabled.")
        if files and state["gated"] and self.user != namespace and self.user not in state["granted"]:
            what = f"Access to {TYPES[kind]} {repo.id} is restricted"
            if self.user is None:
                raise HubError(401, f"{what}. You must have access to it and be authenticated to access it.", "GatedRepo")
            raise HubError(403, f"{what} and you are not in the authorized list.", "GatedRepo")
        return repo

    def writable(self, kind: str, namespace: str, name: str) -> Repo:
        repo = self.readable(kind, namespace, name)
        self.need_user()
        if self.user != namespace or self.role != "write":
            raise HubError(403, f"You don't have the rights to write to {repo.id}")
        return repo

    def proposable(self, kind: str, namespace: str, name: str) -> Repo:
        """The repository, if this user may open a pull request there, and so upload files for one."""
        repo = self.readable(kind, namespace, name)
        if self.need_user() and self.role != "write":
            raise HubError(403, f"You don't have the rights to open a pull request on {repo.id}")
        return repo

    def files(self, repo: Repo, rev: str) -> tuple[str, dict]:
        oid = repo.resolve(rev)
        return oid, repo.commit(oid)["files"]

    # -- account and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self) -> None:
        user = self.need_user()
        token = {"displayName": "test", "role": self.role, "createdAt": now()}
        self.send_json(
            {
                "type": "user",
                "id": hashlib.sha1(user.encode()).hexdigest()[:24],
                "name": user,
                "fullname": user,
                "email": f"{user}@example.invalid",
                "emailVerified": True,
                "isPro": False,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    @route("GET", "/api/agent-harnesses")
    def agent_harnesses(self) -> None:  # the client asks once a day, for its user agent
        self.send_json({"standardEnvVars": [], "harnesses": {}})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self) -> None:
        body = self.json_body()
        try:
            data = card_metadata(body.get("content", ""))
        except Exception as e:
            message = f"Invalid metadata: {e}"
            raise HubError(400, message, body={"errors": [{"message": message}], "warnings": []}) from None
        warnings = [] if data or yaml is None else [{"message": "empty or missing yaml metadata in repo card"}]
        self.send_json({"errors": [], "warnings": warnings})

    @route("POST", "/api/repos/create")
    def create(self) -> None:
        body, user = self.json_body(), self.need_user()
        kind = f"{body.get('type') or 'model'}s"
        namespace = body.get("organization") or user
        if kind not in TYPES:
            raise HubError(400, f"Unsupported repository type: {kind[:-1]}")
        repo = self.hub.repo(kind, str(namespace), str(body.get("name")))
        if namespace != user or self.role != "write":
            raise HubError(403, f'You don\'t have the rights to create a {TYPES[kind]} under the namespace "{namespace}"')
        if kind == "spaces" and body.get("sdk") not in ("gradio", "docker", "static", "streamlit"):
            raise HubError(400, "A Space needs an sdk")
        url = f"{self.hub.url}/{repo.prefix}{repo.id}"
        with self.hub.lock:
            if repo.exists:
                raise HubError(409, f"You already created this {TYPES[kind]} repo", body={"url": url})
            private = body.get("visibility") == "private" or bool(body.get("private"))
            state = {"private": private, "gated": False, "disabled": False, "granted": [], "sdk": body.get("sdk")}
            repo.save({**state, "createdAt": now(), "lastModified": now(), "branches": {}, "tags": {}})
            entry = repo.put_blob(GITATTRIBUTES.encode())
            repo.add_commit("main", {".gitattributes": entry}, "initial commit", "", user, None)
        self.send_json({"url": url, "name": repo.id, "id": repo.id})

    @route("DELETE", "/api/repos/delete")
    def delete(self) -> None:
        body, user = self.json_body(), self.need_user()
        kind = f"{body.get('type') or 'model'}s"
        repo = self.writable(kind, str(body.get("organization") or user), str(body.get("name")))
        with self.hub.lock:
            shutil.rmtree(repo.dir)
        self.send_json({})

    @route("PUT", "/api/{kind}/{repo}/settings")
    def settings(self, **where: str) -> None:
        repo, body = self.writable(**where), self.json_body()
        with self.hub.lock:
            state = repo.state
            if "visibility" in body:
                state["private"] = body["visibility"] == "private"
            for key in ("private", "gated"):
                state[key] = body.get(key, state[key])
            repo.save(state)
        self.send_json({key: state[key] for key in ("private", "gated")})

    def info(self, repo: Repo, rev: str, blobs: bool = False) -> dict:
        sha, files = self.files(repo, rev)
        state = repo.state
        try:
            card = card_metadata(repo.read_text(files, "README.md"))
        except Exception:
            card = {}
        tags = [t for t in card.get("tags") or [] if isinstance(t, str)]
        tags += [str(card["library_name"])] if card.get("library_name") else []
        tags += ["safetensors"] if any(f.endswith(".safetensors") for f in files) else []
        tags += [f"license:{card['license']}"] if card.get("license") else []
        tags += [f"dataset:{d}" for d in card.get("datasets") or []]
        siblings: list[dict] = []
        for path, entry in sorted(files.items()):
            sibling: dict = {"rfilename": path}
            if blobs:
                sibling |= {"size": entry["size"], "blobId": entry["oid"]}
                if "lfs" in entry:
                    lfs = entry["lfs"]
                    sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
            siblings.append(sibling)
        info = {
            "_id": hashlib.sha1(f"{repo.kind}/{repo.id}".encode()).hexdigest()[:24],
            "id": repo.id,
            "author": repo.namespace,
            "sha": sha,
            "lastModified": state["lastModified"],
            "createdAt": state["createdAt"],
            "private": state["private"],
            "gated": state["gated"],
            "disabled": state["disabled"],
            "downloads": 0,
            "likes": 0,
            "tags": list(dict.fromkeys(tags)),
            "cardData": json.loads(json.dumps(card, default=str)),
            "siblings": siblings,
            "usedStorage": sum(e["size"] for e in files.values()),
        }
        if repo.kind == "models":
            info |= {k: card[k] for k in ("library_name", "pipeline_tag", "model-index") if card.get(k)}
            if "model.safetensors" in files:
                info["safetensors"] = safetensors_info(repo.content_path(files["model.safetensors"]))
        if repo.kind == "spaces":
            info |= {
                "sdk": state["sdk"],
                "runtime": {"stage": "NO_APP_FILE", "hardware": {"current": None, "requested": None}},
            }
        return info

    @route("GET", "/api/{kind}/{repo}")
    @route("GET", "/api/{kind}/{repo}/revision/{rev}")
    def repo_info(self, rev: str = "main", **where: str) -> None:
        repo = self.readable(**where)
        self.send_json(self.info(repo, rev, blobs=self.query.get("blobs", "").lower() in ("1", "true")))

    @route("GET", "/api/{kind}")
    def list_repos(self, kind: str) -> None:
        found = []
        for path in sorted((self.hub.root / kind).glob("*/*/repo.json")):
            repo = Repo(self.hub.root, kind, path.parent.parent.name, path.parent.name)
            if repo.state["private"] and self.user != repo.namespace:
                continue
            info = self.info(repo, "main")
            wanted = [t for v in parse_qs(urlsplit(self.path).query).get("filter", []) for t in v.split(",")]
            fits = self.query.get("author", repo.namespace) == repo.namespace and set(wanted) <= set(info["tags"])
            if fits and self.query.get("search", "").lower() in repo.id.lower():
                found.append(info)
        self.send_json(found[: int(self.query.get("limit", len(found)))])

    @route("GET", "/api/{kind}/{repo}/auth-check")
    def auth_check(self, **where: str) -> None:
        self.readable(**where, files=True)
        self.send_json({})

    # -- reading

    def entry(self, path: str, entry: dict) -> dict:
        return {"type": "file", "path": path, **entry}

    def folders(self, files: dict) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in files:
            parts = path.split("/")
            for i in range(1, len(parts)):
                found.setdefault("/".join(parts[:i]), []).append(path)
        return found

    def folder_entry(self, path: str, content: list[str], files: dict) -> dict:
        raw = json.dumps([(p, files[p]["oid"]) for p in sorted(content)]).encode()
        return {"type": "directory", "path": path, "oid": hashlib.sha1(raw).hexdigest(), "size": 0}

    @route("GET", "/api/{kind}/{repo}/tree/{rev}")
    @route("GET", "/api/{kind}/{repo}/tree/{rev}/{path}")
    def tree(self, rev: str, path: str = "", **where: str) -> None:
        repo = self.readable(**where)
        sha, files = self.files(repo, rev)
        folders = self.folders(files)
        base = path.strip("/")
        if base and base not in folders:
            raise HubError(404, "Entry not found", "EntryNotFound", X_Repo_Commit=sha)
        entries = [self.folder_entry(p, content, files) for p, content in folders.items()]
        entries += [self.entry(p, e) for p, e in files.items()]
        prefix = f"{base}/" if base else ""
        entries = [e for e in entries if e["path"].startswith(prefix)]
        if self.query.get("recursive", "").lower() not in ("1", "true"):
            entries = [e for e in entries if "/" not in e["path"][len(prefix) :]]
        entries.sort(key=lambda e: e["path"])
        start = int(self.query.get("cursor", 0))
        headers = {"X-Repo-Commit": sha}
        if start + PAGE < len(entries):
            query = f"recursive={self.query.get('recursive', 'false')}&cursor={start + PAGE}"
            headers["Link"] = f'<{self.hub.url}{quote(self.url_path, safe="/%")}?{query}>; rel="next"'
        self.send_json(entries[start : start + PAGE], headers=headers)

    @route("POST", "/api/{kind}/{repo}/paths-info/{rev}")
    def paths_info(self, rev: str, **where: str) -> None:
        raw = self.body().decode()
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(raw)["paths"]
        else:
            paths = parse_qs(raw).get("paths", [])
        repo = self.readable(**where)
        _, files = self.files(repo, rev)
        folders = self.folders(files)
        found = [self.entry(p, files[p]) for p in paths if p in files]
        found += [self.folder_entry(p, folders[p], files) for p in paths if p in folders]
        self.send_json(found)

    @route("GET", "/api/{kind}/{repo}/refs")
    def refs(self, **where: str) -> None:
        state = self.readable(**where).state

        def listed(kind: str, refs: dict) -> list[dict]:
            refs = {name: oid for name, oid in refs.items() if not name.startswith("refs/")}
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in refs.items()]

        answer = {"branches": listed("heads", state["branches"]), "tags": listed("tags", state["tags"]), "converts": []}
        self.send_json(answer | ({"pullRequests": []} if "include_prs" in self.query else {}))

    @route("GET", "/api/{kind}/{repo}/commits/{rev}")
    def commits(self, rev: str, **where: str) -> None:
        repo = self.readable(**where)
        oid: str | None = repo.resolve(rev)
        found = []
        while oid:
            commit = repo.commit(oid)
            authors = [{"user": commit["author"]}]
            found.append({"id": oid, "authors": authors, **{k: commit[k] for k in ("date", "title", "message")}})
            oid = commit["parents"][0] if commit["parents"] else None
        self.send_json(found)

    @route("GET|HEAD", "/{repo}/resolve/{rev}/{path}")
    @route("GET|HEAD", "/{kind}/{repo}/resolve/{rev}/{path}")
    def resolve(self, rev: str, path: str, kind: str = "models", **where: str) -> None:
        repo = self.readable(kind, files=True, **where)
        sha, files = self.files(repo, rev)
        if path not in files:
            raise HubError(404, "Entry not found", "EntryNotFound", X_Repo_Commit=sha)
        entry = files[path]
        name = quote(path.split("/")[-1])
        headers = {
            "X-Repo-Commit": sha,
            "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
        }
        if "lfs" in entry:
            lfs = entry["lfs"]
            location = self.hub.signed_url("get", repo, lfs["oid"])
            headers |= {"X-Linked-Size": str(lfs["size"]), "X-Linked-Etag": f'"{lfs["oid"]}"', "Location": location}
            self.begin(302, {**headers, "Content-Length": "0"})
        else:
            headers |= {"ETag": f'"{entry["oid"]}"', "Content-Type": "text/plain; charset=utf-8"}
            self.send_file(repo.content_path(entry), headers)

    # -- writing

    @route("POST", "/api/{kind}/{repo}/branch/{rev}")
    @route("DELETE", "/api/{kind}/{repo}/branch/{rev}")
    def branch(self, rev: str, **where: str) -> None:
        body, repo = self.json_body(), self.writable(**where)
        with self.hub.lock:
            state = repo.state
            if self.command == "DELETE":
                if rev == "main" or state["branches"].pop(rev, None) is None:
                    raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
            elif rev in state["branches"]:
                raise HubError(409, f"Reference refs/heads/{rev} already exists")
            else:
                state["branches"][rev] = repo.resolve(body.get("startingPoint") or "main")
            repo.save(state)
        self.send_json({})

    @route("POST", "/api/{kind}/{repo}/tag/{rev}")
    @route("DELETE", "/api/{kind}/{repo}/tag/{rev}")
    def tag(self, rev: str, **where: str) -> None:
        body, repo = self.json_body(), self.writable(**where)
        with self.hub.lock:
            state = repo.state
            if self.command == "DELETE":
                if state["tags"].pop(rev, None) is None:
                    raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
            elif body.get("tag") in state["tags"]:
                raise HubError(409, f"Tag reference exists already: {body['tag']}")
            else:
                state["tags"][str(body["tag"])] = repo.resolve(rev)
            repo.save(state)
        self.send_json({})

    @route("GET", "/api/{kind}/{repo}/xet-(read|write)-token/{rev}")
    def no_xet(self, rev: str, **where: str) -> None:
        self.readable(**where)
        raise HubError(501, "This stand-in has no Xet storage: set HF_HUB_DISABLE_XET=1 before importing huggingface_hub")

    @route("POST", "/api/{kind}/{repo}/preupload/{rev}")
    def preupload(self, rev: str, **where: str) -> None:
        body = self.json_body()
        repo = self.proposable(**where) if "create_pr" in self.query else self.writable(**where)
        _, files = self.files(repo, rev)
        patterns = repo.lfs_patterns(files)
        ignore = body.get("gitIgnore") or repo.read_text(files, ".gitignore") or ""
        ignored = [line.strip().rstrip("/") for line in ignore.splitlines() if line.strip() and line[0] != "#"]

        def matches(path: str, globs: list[str]) -> bool:
            return any(fnmatch.fnmatch(part, g) for g in globs for part in (path, *path.split("/")))

        answer = []
        for f in body.get("files", []):
            known = files.get(f["path"], {})
            lfs = matches(f["path"], patterns) or f["size"] > LFS_BYTES
            oid = known["lfs"]["oid"] if "lfs" in known else known.get("oid")
            mode = "lfs" if lfs else "regular"
            answer.append({"path": f["path"], "uploadMode": mode, "shouldIgnore": matches(f["path"], ignored), "oid": oid})
        self.send_json({"files": answer})

    @route("POST", "/(?P<namespace>[^/]+)/(?P<name>[^/]+).git/info/lfs/objects/batch")
    @route("POST", "/{kind}/(?P<namespace>[^/]+)/(?P<name>[^/]+).git/info/lfs/objects/batch")
    def lfs_batch(self, kind: str = "models", **where: str) -> None:
        body, repo = self.json_body(), self.proposable(kind, **where)
        if body.get("operation") != "upload" or "basic" not in body.get("transfers", ["basic"]):
            raise HubError(400, "Only basic uploads are supported here")
        objects = []
        for o in body.get("objects", []):
            item = {"oid": o["oid"], "size": o["size"], "authenticated": True}
            if not re.fullmatch(r"[0-9a-f]{64}", o["oid"]):
                item["error"] = {"code": 422, "message": "Invalid oid"}
            elif not repo.lfs_path(o["oid"]).is_file():
                verify = f"{self.hub.url}/{repo.prefix}{repo.id}.git/info/lfs/objects/verify"
                upload = self.hub.signed_url("put", repo, o["oid"])
                item["actions"] = {"upload": {"href": upload, "header": {}}, "verify": {"href": verify, "header": {}}}
            objects.append(item)
        self.send_json({"transfer": "basic", "objects": objects})

    @route("POST", "/(?P<namespace>[^/]+)/(?P<name>[^/]+).git/info/lfs/objects/verify")
    @route("POST", "/{kind}/(?P<namespace>[^/]+)/(?P<name>[^/]+).git/info/lfs/objects/verify")
    def lfs_verify(self, kind: str = "models", **where: str) -> None:
        body, repo = self.json_body(), self.proposable(kind, **where)
        oid = str(body.get("oid"))
        path = repo.lfs_path(oid)
        if not re.fullmatch("[0-9a-f]{64}", oid) or not path.is_file() or path.stat().st_size != body.get("size"):
            raise HubError(422, "The uploaded object does not match")
        self.send_json({})

    def check_path(self, path: object) -> str:
        if not isinstance(path, str) or not path:
            raise HubError(400, "A path is missing")
        if not self.hub.unsafe and (path[0] == "/" or any(p in ("", ".", "..", ".git") for p in path.split("/"))):
            raise HubError(400, f"Invalid path: {path}")
        return path

    @route("POST", "/api/{kind}/{repo}/commit/{rev}")
    def commit(self, rev: str, **where: str) -> None:
        raw, proposed = self.body(), "create_pr" in self.query
        repo = self.proposable(**where) if proposed else self.writable(**where)
        try:
            lines = [json.loads(line) for line in raw.splitlines() if line.strip()]
            header = next(item["value"] for item in lines if item["key"] == "header")
            title = header["summary"]
        except (ValueError, KeyError, TypeError, StopIteration):
            raise HubError(400, "The commit is not valid NDJSON with a header") from None
        with self.hub.lock:
            if rev not in repo.state["branches"]:
                raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
            parent = repo.state["branches"][rev]
            if header.get("parentCommit") and proposed:
                parent = repo.resolve(header["parentCommit"])
            elif header.get("parentCommit") and not parent.startswith(header["parentCommit"]):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repo.commit(parent)["files"])
            for item in lines:
                key, value = item["key"], item["value"]
                if key == "header":
                    continue
                path = self.check_path(value.get("path"))
                if key == "file":
                    content = value["content"]
                    data = base64.b64decode(content) if value.get("encoding") == "base64" else content.encode()
                    files[path] = repo.put_blob(data)
                elif key == "lfsFile":
                    sha256 = value["oid"]
                    if not re.fullmatch("[0-9a-f]{64}", sha256) or not repo.lfs_path(sha256).is_file():
                        raise HubError(400, f"LFS object {sha256} of {path} was not uploaded")
                    size = repo.lfs_path(sha256).stat().st_size
                    pointer = lfs_pointer(sha256, size)
                    lfs = {"oid": sha256, "size": size, "pointerSize": len(pointer)}
                    files[path] = {"oid": git_blob_oid(pointer), "size": size, "lfs": lfs}
                elif key in ("deletedFile", "deletedFolder"):
                    gone = [p for p in files if p == path or (key == "deletedFolder" and p.startswith(path.rstrip("/") + "/"))]
                    if not gone:
                        raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
                    for p in gone:
                        del files[p]
                else:
                    raise HubError(400, f"Unknown operation: {key}")
            if clash := set(files) & set(self.folders(files)):
                raise HubError(400, f"Both a file and a folder: {sorted(clash)}")
            number = 1 + sum(name.startswith("refs/pr/") for name in repo.state["branches"])
            branch = f"refs/pr/{number}" if proposed else rev
            oid = repo.add_commit(branch, files, title, header.get("description", ""), self.user, parent)
        page = f"{self.hub.url}/{repo.prefix}{repo.id}"
        answer = {"success": True, "commitUrl": f"{page}/commit/{oid}", "commitOid": oid, "hookOutput": ""}
        self.send_json(answer | ({"pullRequestUrl": f"{page}/discussions/{number}"} if proposed else {}))

    # -- for tests

    @route("GET|DELETE", "/_test/log")
    def test_log(self) -> None:
        with self.hub.lock:
            log = list(self.hub.log)
            if self.command == "DELETE":
                self.hub.log.clear()
        self.send_json(log)

    @route("POST|DELETE", "/_test/fault")
    def test_fault(self) -> None:
        with self.hub.lock:
            if self.command == "DELETE":
                self.hub.faults.clear()
            else:
                fault = self.json_body()
                re.compile(fault["path"])
                self.hub.faults.append(fault)
        self.send_json({})

    @route("POST", "/_test/unsafe")
    def test_unsafe(self) -> None:
        self.hub.unsafe = bool(self.json_body().get("on"))
        self.send_json({})

    @route("POST", "/_test/grant")
    def test_grant(self) -> None:
        body = self.json_body()
        kind, namespace, name = body["repo"].split("/")
        repo = self.hub.repo(kind, namespace, name)
        with self.hub.lock:
            state = repo.state
            state["granted"].append(body["user"])
            repo.save(state)
        self.send_json({})


# ---------------------------------------------------------------------------------------- running


class HubServer:
    """Both servers, in threads: `with HubServer(root, {"hf_alice": ("alice", "write")}) as hub: hub.url`."""

    def __init__(self, root, tokens: dict[str, tuple[str, str]], port: int = 0, cdn_port: int = 0, verbose: bool = False):
        self.hub = Hub(Path(root), tokens)
        self.servers = []
        for base, p in ((HubHandler, port), (CdnHandler, cdn_port)):
            handler = type(base.__name__, (base,), {"hub": self.hub, "verbose": verbose, "ROUTES": base.ROUTES})
            server = ThreadingHTTPServer((HOST, p), handler)
            server.daemon_threads = True
            server.socket.listen(64)  # the client downloads with many threads
            self.servers.append(server)
        self.hub.url, self.hub.cdn = (f"http://{HOST}:{s.server_address[1]}" for s in self.servers)
        self.url = self.hub.url

    def start(self) -> HubServer:
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

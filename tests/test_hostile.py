"""What a stranger's model may do to the one who loads it: nothing, but be refused in one line.

The numbers of the cases are those of the table in docs/security.md.
"""

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import vaekit
from vaekit import CheckpointError, ConfigError, HubError, VaekitError

ROOT = Path(__file__).parents[1]
Content = dict[str, bytes]
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """The files of a good model, small, and with scalars among its tensors."""
    options = {"latent": {"features": 2}, "decoder": {"name": "transposed-conv", "width": 4}, "likelihood": "gaussian"}
    with torch.random.fork_rng([]):
        model, _ = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), encoder={"name": "conv", "width": 4}, **options))
    folder = model.save(tmp_path_factory.mktemp("good"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# How files are spoiled: each takes those of the good model, and changes them.

Spoil = Callable[[Content], None]
CASES: dict[str, tuple[Spoil, str]] = {}


def _case(name: str, said: str, spoil: Spoil) -> None:
    assert name not in CASES
    CASES[name] = (spoil, said)


def _weights(content: bytes) -> Spoil:
    return lambda files: files.update({WEIGHTS: content})


def _parts(files: Content) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(files[WEIGHTS][:8], "little")
    return json.loads(files[WEIGHTS][8 : 8 + length]), files[WEIGHTS][8 + length :]


def _raw(change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Spoil:
    """Change the bytes of the header and of the data."""

    def spoil(files: Content) -> None:
        header, data = _parts(files)
        changed, data = change(json.dumps(header, separators=(",", ":")).encode(), data)
        files[WEIGHTS] = struct.pack("<Q", len(changed)) + changed + data

    return spoil


def _header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the header as JSON."""

    def spoil(files: Content) -> None:
        header, data = _parts(files)
        change(header)
        raw = json.dumps(header).encode()
        files[WEIGHTS] = struct.pack("<Q", len(raw)) + raw + data

    return spoil


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    """Change the tensors themselves."""

    def spoil(files: Content) -> None:
        tensors = load(files[WEIGHTS])
        change(tensors)
        files[WEIGHTS] = save({name: tensor.contiguous() for name, tensor in tensors.items()})

    return spoil


def _config(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the config as JSON."""

    def spoil(files: Content) -> None:
        config = json.loads(files[CONFIG])
        change(config)
        files[CONFIG] = json.dumps(config).encode()

    return spoil


def _text(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the config."""
    return lambda files: files.update({CONFIG: change(files[CONFIG])})


class _Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: str = "canary") -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def _zip(value: object) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


BIAS = "latent.head.bias"
ENTRY = b'"latent.head.bias":{"dtype":"F32","shape":[4],'

_case("1-empty", "has 0 bytes|header is too large", _weights(b""))
_case("1-seven-bytes", "has 7 bytes|header is too large", _weights(b"\0" * 7))
_case("2-length-of-2-to-the-64", "header is too large", lambda f: f.update({WEIGHTS: b"\xff" * 8 + f[WEIGHTS][8:]}))
_case(
    "2-length-above-100-million",
    "header is too large",
    lambda f: f.update({WEIGHTS: struct.pack("<Q", 100_000_001) + f[WEIGHTS][8:]}),
)
_case(
    "3-longer-than-the-file",
    "header is too large",
    lambda f: f.update({WEIGHTS: struct.pack("<Q", len(f[WEIGHTS])) + f[WEIGHTS][8:]}),
)
_case("3-length-of-0", "header is too large", lambda f: f.update({WEIGHTS: bytes(8) + f[WEIGHTS][8:]}))
_case("4-spaces", "so it is not read|header is too large", _raw(lambda h, d: (h + b" " * 30_000_000, d)))
_case("4-nuls", "so it is not read|header is too large", _raw(lambda h, d: (h + b"\0" * 2_000_000, d)))
_case("4-few-nuls", "not valid JSON", _raw(lambda h, d: (h + b"\0" * 8, d)))
_case("5-not-utf-8", "not valid JSON", _raw(lambda h, d: (h.replace(b"latent", b"latent\xff", 1), d)))
_case("5-utf-16", "does not begin with a brace", _raw(lambda h, d: (h.decode().encode("utf-16"), d)))
_case("5-not-json", "does not begin with a brace", _raw(lambda h, d: (b"x" + h, d)))
_case("5-list", "does not begin with a brace", _raw(lambda h, d: (b"[" + h + b"]", d)))
_case("5-string", "does not begin with a brace", _raw(lambda h, d: (b'"x"' + b" " * len(h), d)))
_case("6-leading-space", "does not begin with a brace", _raw(lambda h, d: (b" " + h, d)))
_case("7-name-twice", "stands twice", _raw(lambda h, d: (h[:-1] + b',"latent.head.bias":{}}', d)))
_case(
    "7-metadata-twice", "stands twice", _raw(lambda h, d: (b'{"__metadata__":{"a":"1","a":"2"},"__metadata__":{},' + h[1:], d))
)
_case("7-key-in-metadata-twice", "stands twice", _raw(lambda h, d: (h.replace(b'"format":"pt"', b'"a":"1","a":"2"'), d)))
_case("7-one-of-many-twice", "the key '0' stands twice", _raw(lambda h, d: (h[:-1] + b"," + _keys() + b',"0":0}', d)))
_case("7-long-name-twice", "stands twice", _raw(lambda h, d: (b"{" + 2 * (b'"%s":0,' % (b"q" * 400_000)) + h[1:], d)))
_case("7-unknown-field", "not a safetensors file", _header(lambda h: h[BIAS].update(x=1)))
_case("8-overlap", "not a valid safetensors file", _header(lambda h: h[BIAS].update(data_offsets=[0, 16])))
_case("8-reversed", "not a valid safetensors", _header(lambda h: h[BIAS].update(data_offsets=h[BIAS]["data_offsets"][::-1])))
_case("8-negative", "safetensors", _header(lambda h: h[BIAS].update(data_offsets=[-16, 0])))
_case("8-float", "safetensors", _header(lambda h: h[BIAS].update(data_offsets=[0.0, 16.0])))
_case("8-true", "safetensors", _header(lambda h: h[BIAS].update(data_offsets=[False, True])))
_case("8-hole", "safetensors", _header(lambda h: h[BIAS].update(data_offsets=[2**40, 2**40 + 16])))
_case("8-text", "safetensors", _header(lambda h: h[BIAS].update(data_offsets="0,16")))
_case(
    "9-empty-tensor",
    "'x' does not belong",
    _header(lambda h: h.update(x={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
)
_case("10-trailing-bytes", "bytes of tensors, the model needs", _raw(lambda h, d: (h, d + b"PK\5\6" + bytes(18))))
_case("11-shape-does-not-fit", "has shape", _header(lambda h: h[BIAS].update(shape=[5])))
_case("11-overflow", "has shape", _header(lambda h: h[BIAS].update(shape=[2**63, 2**63])))
_case("11-negative", "has shape", _header(lambda h: h[BIAS].update(shape=[-4])))
_case("11-float", "not a safetensors file", _header(lambda h: h[BIAS].update(shape=[4.0])))
_case("11-true", "not a safetensors file", _header(lambda h: h[BIAS].update(shape=[True] * 4)))
_case("12-zero-times-huge", "has shape", _header(lambda h: h[BIAS].update(shape=[0, 2**62])))
_case("12-rank-100000", "has shape", _header(lambda h: h[BIAS].update(shape=[1] * 100_000)))
_case("13-unknown-dtype", "is of F99", _header(lambda h: h[BIAS].update(dtype="F99")))
_case("13-dtype-no-text", "is of", _header(lambda h: h[BIAS].update(dtype=["F32"])))
_case("14-integers", "is of I64", _tensors(lambda t: t.update({BIAS: torch.zeros(4, dtype=torch.int64)})))
_case("14-halves", "is of F16", _tensors(lambda t: t.update({BIAS: torch.zeros(4, dtype=torch.float16)})))
_case("14-same-size", "is of I32", _header(lambda h: h[BIAS].update(dtype="I32")))
_case("14-complex", "is of C64", _tensors(lambda t: t.update({BIAS: torch.zeros(4, dtype=torch.complex64)})))
_case("15-wrong-shape", "has shape", _tensors(lambda t: t.update({BIAS: torch.zeros(2, 2)})))
_case("15-missing", "'head.bias' of the latent is missing", _tensors(lambda t: t.pop(BIAS)))
_case("15-extra", "'x' does not belong", _tensors(lambda t: t.update(x=torch.zeros(1))))
_case("16-one-for-a-scalar", r"has shape \[1\], the model needs \[\]", _tensors(lambda t: t.update(_scalar(t))))
_case("17-nan", "not finite", _tensors(lambda t: t[BIAS].fill_(float("nan"))))
_case("17-infinity", "not finite", _tensors(lambda t: t[BIAS].fill_(-float("inf"))))
_case("18-metadata-of-numbers", "safetensors", _header(lambda h: h.update(__metadata__={"a": 1})))
_case("18-metadata-a-list", "safetensors", _header(lambda h: h.update(__metadata__=[])))
_case("19-nested", "nested too deeply", _raw(lambda h, d: (b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}", d)))
_case("19-nested-in-an-entry", "nested too deeply", _raw(lambda h, d: (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, d)))
_case("20-300000-empty-tensors", "so it is not read|header is too large", _raw(lambda h, d: (_many(300_000, h), d)))
_case("20-as-many-as-fit", "does not belong to this model, and ", _raw(lambda h, d: (_many(12_000, h), d)))
_case("20-long-name", "does not belong", _header(lambda h: h.update({"x" * 900_000: h[BIAS]})))
_case("20-terminal", r"x1b\]0;owned", _header(lambda h: h.update({"\x1b]0;owned\x07": h[BIAS]})))
_case("21-truncated", "so it is not read|bytes of tensors", lambda f: f.update({WEIGHTS: f[WEIGHTS][:-1]}))
_case(
    "25-pickle",
    "not read|a pickle, which is never opened",
    lambda f: f.update({WEIGHTS: pickle.dumps([_Canary(), bytes(len(f[WEIGHTS]))])}),
)
_case(
    "25-torch-zip",
    "not read|a pickle, which is never opened",
    lambda f: f.update({WEIGHTS: _zip([_Canary(), torch.zeros(20_000)])}),
)
_case("26-only-pickles", "has no model.safetensors; it holds pickles such as", lambda f: f.update(_pickles(f)))
_case("26-terminal", r"no config.json; it holds pickles such as .x1b\[31m .x07\.bin, which", lambda f: f.update(_renamed(f)))
_case("33-config-too-large", "bytes", _text(lambda c: c + b" " * 1_000_001))
_case("33-config-of-12-million", "bytes", _text(lambda c: b"[" + b"[]," * 4_000_000 + b"[]]"))
_case("33-as-large-as-may-be", "config has no 'x'", _text(lambda c: c[:-2] + b',"x":[' + b"[]," * 90_000 + b"[]]}"))
_case("33-many-lists", "lists and objects, more than", _text(lambda c: c[:-2] + b',"x":[' + b"[]," * 300_000 + b"[]]}"))
_case("34-key-twice", "stands twice", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": 1, "vaekit": 1', 1)))
_case("34-one-of-many-keys-twice", "the key '0' stands twice", _text(lambda c: c[:-2] + b',"x":{' + _keys() + b',"0":0}}'))
_case("34-long-number", "out of range", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": ' + b"9" * 900_000 + b".0", 1)))
_case("34-nan", "NaN is not JSON", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": NaN', 1)))
_case("34-infinity", "Infinity is not JSON", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": -Infinity', 1)))
_case("34-1e400", "out of range", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": 1e400', 1)))
_case("34-bom", "byte-order mark", _text(lambda c: b"\xef\xbb\xbf" + c))
_case("34-utf-16", "not valid JSON", _text(lambda c: c.decode().encode("utf-16")))
_case("34-not-utf-8", "not valid JSON", _text(lambda c: c.replace(b"vaekit", b"vae\xff", 1)))
_case("34-surrogate", "not valid JSON", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": "\\ud800"', 1)))
_case("35-nested", "nested too deeply", _text(lambda c: b'{"a":' * 90_000 + b"1" + b"}" * 90_000))
_case("36-integer-of-5000-digits", "not valid JSON", _text(lambda c: c.replace(b'"vaekit": 1', b'"vaekit": ' + b"9" * 5000, 1)))
_case("37-no-object", "a JSON object is wanted", _text(lambda c: b"[1]"))
_case("37-empty", "not valid JSON", _text(lambda c: b""))
_case("37-unknown-key", "extra|unknown|'speed'", _config(lambda c: c.update(speed=1)))
_case("37-unknown-option", "'speed'", _config(lambda c: c["encoder"].update(speed=1)))
_case("37-missing-key", "'likelihood' is missing", _config(lambda c: c.pop("likelihood")))
_case("37-part-by-name-alone", "must be an object with a name", _config(lambda c: c.update(encoder="conv")))
_case("37-text-for-a-number", "width", _config(lambda c: c["encoder"].update(width="4")))
_case("37-float-for-a-number", "width", _config(lambda c: c["encoder"].update(width=4.0)))
_case("37-true-for-a-number", "width", _config(lambda c: c["encoder"].update(width=True)))
_case("37-true-for-the-version", "format version", _config(lambda c: c.update(vaekit=True)))
_case("37-side-of-true", "data_shape", _config(lambda c: c.update(data_shape=[True, 8, 8])))
_case("37-huge-text", "config|encoder", _config(lambda c: c["encoder"].update(width="x" * 900_000)))
_case("37-long-key", "config has no 'kkk", _config(lambda c: c.update({"k" * 900_000: 1})))
_case("37-long-option", "has no option 'kkk", _config(lambda c: c["encoder"].update({"k" * 900_000: 1})))
_case("37-many-keys", "config has no '0'", _text(lambda c: c[:-2] + b"," + _keys() + b"}"))
_case(
    "37-many-options",
    r"encoder: 60,\d+ items, more than",
    _config(lambda c: c["encoder"].update(json.loads(b"{" + _keys() + b"}"))),
)
_case("37-many-texts", "and 9,997 more", _config(lambda c: c.update(encoder={"name": "mlp", "hidden": ["x"] * 10_000})))
_case("37-more-texts", "hidden: 90,000 items", _config(lambda c: c.update(encoder={"name": "mlp", "hidden": ["x"] * 90_000})))
_case("37-more-classes", "classes: 90,000 items", _config(lambda c: c.update(data=_data(classes=[1] * 90_000))))
_case("37-many-classes", "config: data: classes.*more", _config(lambda c: c.update(data=_data(classes=["x" * 99] * 9000))))
_case("37-many-numbers", "data_shape", _config(lambda c: c.update(data_shape=[10**4000] * 200)))
_case("37-unknown-key-of-data", "^config: data has no 'path'", _config(lambda c: c.update(data=_data(path="/etc"))))
_case("37-terminal", "config|encoder", _config(lambda c: c["encoder"].update({"\x1b[2J": "\x1b[2J"})))
_case("38-terabytes", "bytes of memory|has shape|missing|data_shape|numbers", _config(lambda c: c.update(_big())))
_case("38-gigabytes", "missing|are expected", _config(lambda c: c.update(_wide())))
_case("38-huge-data", "data_shape", _config(lambda c: c.update(data_shape=[65536, 65536, 65536])))
_case("39-depth", "encoder", _config(lambda c: c.update(encoder={"name": "mlp", "hidden": [8] * 100_000})))
_case("39-integer", "latent|features", _config(lambda c: c["latent"].update(features=10**9)))
_case("40-negative", "width", _config(lambda c: c["encoder"].update(width=-4)))
_case("40-zero", "features", _config(lambda c: c["latent"].update(features=0)))
_case("40-no-side", "data_shape", _config(lambda c: c.update(data_shape=[])))
for _key in ("_target_", "auto_map", "trust_remote_code", "module", "__class__", "base_model"):
    _case(f"41-{_key}", re.escape(_key), _config(lambda c, key=_key: c.update({key: "os.system"})))
    _case(f"41-option-{_key}", re.escape(_key), _config(lambda c, key=_key: c["encoder"].update({key: "evil.py:run"})))
_case("42-unknown", "unknown encoder 'perceiver'", _config(lambda c: c.update(encoder={"name": "perceiver"})))
for _number, _name in enumerate(
    ("../evil", "os:system", "a.b", "evil/x", "Conv", "conv\n", "https://evil", "", "c" * 65, "cоnv")
):
    _case(f"42-name-{_number}", "lower-case|name", _config(lambda c, name=_name: c.update(encoder={"name": name})))
_case("42-name-no-text", "name", _config(lambda c: c.update(encoder={"name": ["conv"]})))
_case(
    "43-version",
    "made with vaekit-conv 999, and .* is installed: pip install --upgrade vaekit-conv",
    _config(lambda c: (c["encoder"].update(speed=1), c.update(plugins={"vaekit-conv": "999"}))),
)
_case("43-provenance-of-a-stranger", "runs its code", _config(lambda c: c.update(encoder={"name": "x"}, plugins={"evil": "1"})))
_case(
    "43-provenance-of-many",
    r"'p0', 'p1', 'p10' and 97 more",
    _config(lambda c: c.update(encoder={"name": "x"}, plugins=_many_packages())),
)
_case("43-provenance-a-command", "plugins", _config(lambda c: c.update(plugins={"x; pip install evil": "1"})))
_case("43-version-a-command", "plugins", _config(lambda c: c.update(plugins={"vaekit": "9: pip install evil"})))
_case("43-provenance-no-text", "plugins", _config(lambda c: c.update(plugins={"vaekit": 1})))
_case("45-newer", "format 2 is newer than this vaekit reads", _config(lambda c: c.update(vaekit=2)))
_case("45-much-newer", "format 1000.* is newer than this vaekit reads", _config(lambda c: c.update(vaekit=10**4000)))
_case("31-index-upwards", "not an index of shards", lambda f: f.update(_index(f, "../model-00001-of-00001.safetensors")))
_case("31-index-absolute", "not an index of shards", lambda f: f.update(_index(f, "/etc/passwd")))
_case("31-index-pickle", "not an index of shards", lambda f: f.update(_index(f, "pytorch_model.bin")))
_case(
    "31-index-of-a-million", "not all, or not of one model", lambda f: f.update(_index(f, "model-00001-of-99999.safetensors"))
)
_case("31-index-too-large", "bytes", lambda f: f.update({**_index(f, "x"), "model.safetensors.index.json": b" " * 1_000_001}))


def _many(count: int, header: bytes) -> bytes:
    """The header with so many empty tensors in it."""
    entries = (b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number for number in range(count))
    return b"{" + b",".join(entries) + b"," + header[1:]


def _keys() -> bytes:
    return b",".join(b'"%d":0' % number for number in range(60_000))


def _data(**more: Any) -> dict[str, Any]:
    return {"name": "x", "examples": 5, **more}


def _many_packages() -> dict[str, str]:
    return {f"p{number}": "1" for number in range(100)}


def _scalar(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = next(name for name, tensor in tensors.items() if not tensor.dim())
    return {name: tensors[name][None]}


def _pickles(files: Content) -> Content:
    del files[WEIGHTS]
    return {"pytorch_model.bin": _zip(_Canary()), "model.pt": pickle.dumps(_Canary()), "encoder.pkl": pickle.dumps(_Canary())}


def _renamed(files: Content) -> Content:
    files.clear()
    return {"\x1b[31m\n\x07.bin": b"x"}


def _index(files: Content, shard: str) -> Content:
    names = _parts(files)[0].keys() - {"__metadata__"}
    del files[WEIGHTS]
    return {"model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, shard)}).encode()}


def _big() -> dict[str, Any]:
    return {"encoder": {"name": "mlp", "hidden": [65536] * 16}, "decoder": {"name": "mlp", "hidden": [65536] * 16}}


def _wide() -> dict[str, Any]:
    """What `max_bytes` allows, and the weights do not bear out."""
    return {"encoder": {"name": "mlp", "hidden": [32768] * 4}}


def _spoiled(good: Content, case: str) -> Content:
    files = dict(good)
    CASES[case][0](files)
    return files


OTHERWISE = {
    22: "test_a_download_that_is_always_cut",
    23: "test_a_download_that_came_damaged_is_told_and_removed",
    24: "test_a_size_that_was_not_announced_is_an_error",
    27: "test_what_is_no_file",
    28: "test_a_link_out_of_a_folder_shows_nothing_of_what_it_leads_to",
    29: "test_a_file_that_changes_changes_no_model",
    30: "test_names_that_lead_elsewhere_are_not_followed",
    32: "test_a_redirect_to_a_file_here_is_refused",
    44: "test_a_broken_plugin_harms_no_other_and_a_token_is_in_no_log_nor_run",
    46: "test_no_such_repo_private_and_gated",
}
"""Rows of the table that are no file or config of their own, and the tests of them."""


def test_every_row_of_the_table_is_tried() -> None:
    table = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [int(row) for row in table] == list(range(1, 47))
    assert {int(case.partition("-")[0]) for case in CASES} | OTHERWISE.keys() == set(range(1, 47))
    tests = "".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in ("test_hub.py", "test_hostile.py"))
    assert [test for test in OTHERWISE.values() if f"def {test}(" not in tests] == []


CHILD = """
import json, os, resource, sys, time, vaekit
from vaekit import VaekitError
vaekit.load(sys.argv[1])  # all that loading imports is there,
"\\x1b".encode("unicode_escape")  # and what its messages need
watched = ("pickle.", "marshal.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.", "exec",
           "import", "compile", "ctypes.")
seen = []
def watch(event, arguments):
    if event.startswith(watched) or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3):
        seen.append(f"{event} {arguments}"[:200])
sys.addaudithook(watch)
for given in sys.argv[2:]:
    margin, _, folder = given.partition(":")
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with os.fdopen(read) as told:
            text = told.read()
        os.waitpid(child, 0)
        print(text or json.dumps({"died": True}), flush=True)
        continue
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + int(margin),) * 2)
    seen.clear()
    start, busy = time.perf_counter(), time.process_time()
    try:
        vaekit.load(folder)
        told = {"error": None}
    except VaekitError as error:
        told = {"error": str(error)}
    except BaseException as error:
        told = {"escaped": f"{type(error).__name__}: {error}"[:500]}
    told |= {"waited": time.perf_counter() - start, "seconds": time.process_time() - busy, "seen": list(seen)}
    os.write(write, json.dumps(told).encode())
    os._exit(0)
"""


@pytest.fixture(scope="module")
def outcomes(good: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What came of loading each case in a process of its own, whose memory is limited to 80 MB above that of its imports.

    Two cases are of a good model whose weights are larger than that; one may take twice their size.
    """
    place = tmp_path_factory.mktemp("cases")
    folders = [_write(good, place / "good")] + [_write(_spoiled(good, case), place / case) for case in CASES]
    large = _large(place / "large")
    given = [f"{80_000_000}:{folder}" for folder in (*folders, large)]
    given.append(f"{20_000_000 + 2 * (large / WEIGHTS).stat().st_size}:{large}")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folders[0]), *given],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(given), done.stderr[-3000:]
    found = dict(zip(["good", *CASES, "too large", "large"], map(json.loads, lines), strict=True))
    folders.append(large)
    yield {**found, "left": sorted({path.name for path in place.iterdir()} - {folder.name for folder in folders})}
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()


def _large(folder: Path) -> Path:
    """A good model with 100 MB of weights."""
    wide = {"hidden": [3500, 3500]}
    with torch.random.fork_rng([]):
        model, _ = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), encoder=wide, decoder=wide))
    return model.save(folder)


def _write(files: Content, folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_good_model_loads_within_the_limits(outcomes) -> None:
    assert outcomes["good"]["error"] is None
    assert outcomes["good"]["seen"] == []


def test_loading_takes_twice_the_memory_of_the_weights(outcomes) -> None:
    assert outcomes["large"]["error"] is None, outcomes["large"]
    assert outcomes["large"]["seen"] == []
    assert re.search("could not be built|cannot be read", outcomes["too large"]["error"]), outcomes["too large"]


@pytest.mark.parametrize("case", CASES)
def test_bad_files_end_in_one_line(outcomes, case: str) -> None:
    """In under a second, in little memory, running and writing nothing."""
    outcome = outcomes[case]
    assert "error" in outcome, outcome
    assert outcome["error"], "it was loaded"
    assert re.search(CASES[case][1], outcome["error"]), outcome["error"][:500]
    assert outcome["seconds"] < 1
    assert outcome["waited"] < 4  # beside other tests
    assert outcome["seen"] == []
    assert len(outcome["error"]) < 1200
    assert "\x1b" not in outcome["error"]
    assert "\n" not in outcome["error"]
    assert outcomes["left"] == []


@pytest.mark.parametrize("case", CASES)
def test_bad_repos_leave_nothing_behind(hub, good: Content, tmp_path: Path, case: str) -> None:
    """The same from the Hub: no folder is written, nothing half done is in the cache, and no pickle was asked for."""
    hub.put("mallory/vae", _spoiled(good, case))
    cache = tmp_path / "cache"
    start = time.process_time()  # of the Hub of the tests too
    with pytest.raises(VaekitError, match=CASES[case][1]):
        vaekit.load("mallory/vae", cache_dir=cache)
    assert time.process_time() - start < 1.5
    assert not [path for path in cache.rglob("*") if path.name.endswith((".incomplete", ".tmp"))]
    assert not [line for line in hub.asked() if re.search(r"\.(bin|pt|pkl|py)$", line)]
    assert not (tmp_path / "canary").exists()
    assert sum(path.stat().st_size for path in cache.rglob("blobs/*")) < 3_000_000


def test_pickles_beside_a_good_model_are_never_asked_for(hub, good: Content, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    evil = pickle.dumps(_Canary(str(canary)))
    names = ("pytorch_model.bin", "model.pt", "encoder.pkl", "decoder.pkl", "training_args.bin", "optimizer.pt")
    code = f"open({str(canary)!r}, 'w')".encode()
    files = {
        **good,
        **dict.fromkeys(names, evil),
        "modeling.py": code,
        "__init__.py": code,
        "conftest.py": code,
        "setup.py": code,
    }
    hub.put("mallory/vae", files)
    vaekit.load("mallory/vae", cache_dir=tmp_path / "cache")
    asked = {line.rpartition("/")[2] for line in hub.asked() if "/resolve/" in line}
    assert asked == {CONFIG, WEIGHTS}
    assert vaekit.load(_write(files, tmp_path / "local"))
    assert not canary.exists()
    pickle.loads(evil).close()
    assert canary.exists(), "the canary itself works"


def test_names_that_lead_elsewhere_are_not_followed(hub, good: Content, tmp_path: Path) -> None:
    """Row 30: files are asked for by names of ours, never by those of a listing."""
    evil = {"../evil": b"1", "/etc/evil": b"1", "C:\\evil": b"1", "a/../../evil": b"1", "\\\\host\\evil": b"1", "evil\n": b"1"}
    hub.put("mallory/vae", {**good, **evil})
    target = tmp_path / "target"
    assert vaekit.load("mallory/vae", cache_dir=tmp_path / "cache")
    vaekit.io.pull("mallory/vae", target)
    assert sorted(path.name for path in target.iterdir()) == sorted(good)
    assert not list(tmp_path.rglob("*evil*"))


# Rows 22 to 24 and 32: the network.


@pytest.mark.usefixtures("patient")
def test_a_download_that_is_always_cut(hub, good: Content, tmp_path: Path) -> None:
    hub.put("mallory/vae", good)
    hub.fault("truncate", "^/models/", method="GET", times=99)
    with pytest.raises(HubError, match=r"cannot be reached|came to an end|cut"):
        vaekit.load("mallory/vae", cache_dir=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".incomplete")]
    assert not list(tmp_path.rglob(WEIGHTS))


def test_a_redirect_to_a_file_here_is_refused(hub, good: Content, tmp_path: Path) -> None:
    hub.put("mallory/vae", good)
    hub.fault("header", f"resolve/.*/{WEIGHTS}", method="HEAD", headers={"Location": "file:///etc/passwd"}, times=9)
    with pytest.raises(VaekitError):
        vaekit.load("mallory/vae", cache_dir=tmp_path)


def test_an_answer_that_makes_no_sense(hub, good: Content, tmp_path: Path, monkeypatch) -> None:
    hub.put("mallory/vae", good)
    for answer in ({}, {"sha": "../../evil"}, {"sha": 1}, {"siblings": 1}, [], {"sha": "0" * 40, "siblings": [{}]}):
        with monkeypatch.context() as patch:
            patch.setattr(type(hub.state.repo("models", "a", "b")), "resolve", lambda *_: "0" * 40)
            patch.setattr("hubserver.HubHandler.info", lambda *_, answer=answer, **__: answer)
            with pytest.raises(HubError):
                vaekit.load("mallory/vae", cache_dir=tmp_path / "cache")
    assert not list(tmp_path.rglob("evil"))


# Rows 27 to 29: what a folder may hold instead of files.


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("what", ["folder", "pipe", "device", "dangling", "loop", "socket"])
def test_what_is_no_file(good: Content, tmp_path: Path, name: str, what: str, monkeypatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    folder = _write(good, tmp_path / "model")
    path = folder / name
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "dangling":
        path.symlink_to("nowhere")
    elif what == "loop":
        path.symlink_to(path.name)
    else:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(f"model/{name}")
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"not a regular file|cannot be read"):
        vaekit.load(folder)
    assert time.perf_counter() - start < 1


def test_a_link_out_of_a_folder_shows_nothing_of_what_it_leads_to(good: Content, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hf_password: hunter2\n")
    for name in (CONFIG, WEIGHTS):
        folder = _write(good, tmp_path / f"to-{name}")
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        with pytest.raises((CheckpointError, ConfigError)) as caught:
            vaekit.load(folder)
        assert "hunter2" not in str(caught.value)


def test_a_file_that_changes_changes_no_model(good: Content, tmp_path: Path) -> None:
    folder = _write(good, tmp_path / "model")
    model = vaekit.load(folder)
    before = model.sample(2, seed=0)
    (folder / WEIGHTS).write_bytes(b"\0" * len(good[WEIGHTS]))
    assert torch.equal(model.sample(2, seed=0), before)
    os.truncate(folder / WEIGHTS, 0)
    assert torch.equal(model.sample(2, seed=0), before)


# Row 44, and what logs and runs hold: in a process with a plugin that fails, a token, and a client that tells all it does.

TALKING = """
import sys, vaekit
for repo in ("alice/good", "mallory/broken", "alice/none"):
    try:
        print(vaekit.load(repo).source)
    except vaekit.VaekitError as error:
        print(type(error).__name__, error)
vaekit.fit("digits", data_options={"validation": 1500, "test": 100}, epochs=1, output=sys.argv[1])
"""


def test_a_broken_plugin_harms_no_other_and_a_token_is_in_no_log_nor_run(hub, good: Content, tmp_path: Path) -> None:
    package = tmp_path / "packages" / "broken_package-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[vaekit]\nbroken = broken_module\n")
    (package.parent / "broken_module.py").write_text("raise RuntimeError('boom')\n")
    commit = hub.put("alice/good", good, private=True)
    broken = json.loads(good[CONFIG]) | {"encoder": {"name": "broken"}}
    hub.put("mallory/broken", {**good, CONFIG: json.dumps(broken).encode()})
    paths = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", TALKING, str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "HF_TOKEN": hub.alice, "HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout
    assert f"alice/good@{commit}\n" in said
    assert "UnknownPart unknown encoder 'broken'" in said
    assert "plugin broken-package 1.0 is installed but out of use: RuntimeError: boom (broken_module.py, line 1)" in said
    assert "HubError no repo alice/none" in said
    assert "resolve" in done.stderr, "the client tells what it does"
    assert hub.alice not in done.stdout + done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "README.md", "config.json"} <= {path.name for path in written}
    assert not [path for path in written if hub.alice.encode() in path.read_bytes()]


# Anything else that a file can be.


def _json() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([1, 4, "conv"])
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    )


@st.composite
def _changed(draw: st.DrawFn, value: Any) -> Any:
    """The value, with something in it replaced, added or taken away."""
    copy = json.loads(json.dumps(value))
    at, parent = copy, None
    for _ in range(draw(st.integers(0, 3))):
        if not isinstance(at, dict | list) or not at:
            break
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        parent, at = (at, key), at[key]
    if parent is None:
        return draw(_json())
    holder, key = parent
    what = draw(st.sampled_from(["replace", "remove", "add"]))
    if what == "remove":
        del holder[key]
    elif what == "add" and isinstance(holder, dict):
        holder[draw(st.text(max_size=20))] = draw(_json())
    else:
        holder[key] = draw(_json())
    return copy


@st.composite
def _cut(draw: st.DrawFn, text: bytes) -> bytes:
    """The bytes, with some of them replaced, put in or taken out."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 16)))
        text = text[:start] + draw(st.binary(max_size=16)) + text[stop:]
    return text


def _fuzz(good: Content, tmp_path: Path, cases: int) -> None:
    folder = tmp_path / "model"
    _write(good, folder)
    header, data = _parts(good)
    length = int.from_bytes(good[WEIGHTS][:8], "little")
    config = json.loads(good[CONFIG])
    as_json = _changed(header).map(lambda h: json.dumps(h).encode())
    weights = (as_json | _cut(good[WEIGHTS][8 : 8 + length])).map(lambda raw: struct.pack("<Q", len(raw)) + raw + data)
    configs = _changed(config).map(lambda c: json.dumps(c).encode()) | _cut(good[CONFIG])
    files = st.tuples(st.just(good[CONFIG]), weights | _cut(good[WEIGHTS])) | st.tuples(configs, st.just(good[WEIGHTS]))

    @settings(max_examples=cases, deadline=1000, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(files)
    def load_it(content: tuple[bytes, bytes]) -> None:
        for name, written in zip((CONFIG, WEIGHTS), content, strict=True):
            (folder / name).write_bytes(written)
        try:
            model = vaekit.load(folder)
        except VaekitError:
            event("refused")
        else:
            event("loaded")
            assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())

    load_it()


def test_anything_else_is_loaded_or_refused(good: Content, tmp_path: Path) -> None:
    _fuzz(good, tmp_path, 200)


@pytest.mark.slow
def test_anything_else_is_loaded_or_refused_10000_times(good: Content, tmp_path: Path) -> None:
    _fuzz(good, tmp_path, 10_000)

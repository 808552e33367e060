"""Loading from the Hub: over HTTP with the real client, from a Hub of the tests' own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vaekit
from vaekit import CheckpointError, ConfigError, HubError
from vaekit.cli import app
from vaekit.known import EXTRAS
from vaekit.snapshot import Snapshot

INFO = "GET /api/models/alice/vae"


@pytest.fixture
def folder(make, tmp_path: Path) -> Path:
    return make().save(tmp_path / "saved")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _same(a: vaekit.VAE, b: vaekit.VAE) -> bool:
    return torch.equal(a.sample(3, seed=0), b.sample(3, seed=0))


def test_a_model_on_the_hub_is_the_one_that_was_saved(hub, folder: Path, cache: Path) -> None:
    commit = hub.put("alice/vae", folder)
    model = vaekit.load("alice/vae", cache_dir=cache)
    assert _same(model, vaekit.load(folder))
    assert model.source == f"alice/vae@{commit}"
    assert not model.training
    assert _same(vaekit.load(model.source, cache_dir=cache), model)


def test_requests_are_few(hub, folder: Path, cache: Path) -> None:
    commit = hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    asked = hub.asked()
    assert len(asked) == 5
    assert asked[0] == INFO
    assert [line for line in asked if "config.json" in line] == asked[1:3]
    vaekit.load("alice/vae", cache_dir=cache)
    assert hub.asked() == [INFO]
    vaekit.load(f"alice/vae@{commit}", cache_dir=cache)
    vaekit.load("alice/vae", revision=commit, cache_dir=cache)
    vaekit.load("alice/vae", local_files_only=True, cache_dir=cache)
    assert hub.asked() == []
    shutil.rmtree(cache)
    vaekit.load(f"alice/vae@{commit}", cache_dir=cache)
    assert len(hub.asked()) == 5


def test_a_branch_a_tag_and_a_commit(hub, make, tmp_path: Path, cache: Path) -> None:
    first, second = make(), make(latent={"features": 3})
    old = hub.put("alice/vae", first.save(tmp_path / "a"))
    new = hub.put("alice/vae", second.save(tmp_path / "b"))
    hub.put("alice/vae", tmp_path / "a", branch="feature/x")
    repo = hub.state.repo("models", "alice", "vae")
    repo.save(repo.state | {"tags": {"v1": old}})
    for revision, model in [(None, second), ("main", second), (new, second), (old, first), ("v1", first)]:
        assert _same(vaekit.load("alice/vae", revision=revision, cache_dir=cache), model), revision
    assert _same(vaekit.load("alice/vae@v1", cache_dir=cache), first)


def test_config_and_weights_are_of_one_commit_though_another_comes_between(hub, make, tmp_path: Path, cache: Path) -> None:
    first = make()
    commit = hub.put("alice/vae", first.save(tmp_path / "a"))
    snapshot = Snapshot("alice/vae", cache_dir=cache)
    snapshot.get("config.json", 0, 10**6)
    hub.put("alice/vae", make(latent={"features": 3}).save(tmp_path / "b"))
    assert snapshot.commit == commit
    weights = snapshot.get("model.safetensors", 0, 10**6)
    assert weights.path.read_bytes() == (tmp_path / "a" / "model.safetensors").read_bytes()


def test_a_commit_twice_is_not_fetched_twice_but_for_force_download(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    hub.asked()
    vaekit.load("alice/vae", cache_dir=cache, force_download=True)
    assert len(hub.asked()) == 5
    with pytest.raises(ConfigError, match="exclude each other"):
        vaekit.load("alice/vae", force_download=True, local_files_only=True)


def test_shards(hub, make, tmp_path: Path, cache: Path) -> None:
    model = make()
    folder = _sharded(model, tmp_path / "shards")
    assert _same(vaekit.load(folder), model)
    hub.put("alice/vae", folder)
    assert _same(vaekit.load("alice/vae", cache_dir=cache), model)
    commit = vaekit.load("alice/vae", cache_dir=cache).source.partition("@")[2]
    hub.asked()
    vaekit.load("alice/vae", revision=commit, cache_dir=cache)
    assert hub.asked() == []


def _sharded(model: vaekit.VAE, folder: Path, change: Callable[[dict], object] = lambda index: None) -> Path:
    model.save(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, folder / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    change(index)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _swapped(where: dict[str, str]) -> dict[str, str]:
    return dict(zip(where, reversed(where.values()), strict=True))


def _rename(shard: str) -> Callable[[dict], object]:
    return lambda index: index["weight_map"].update({"latent.head.bias": shard})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename("../model-00001-of-00002.safetensors"), "not an index"),
        (_rename("/etc/passwd"), "not an index"),
        (_rename("pytorch_model.bin"), "not an index"),
        (_rename("model-00003-of-00003.safetensors"), "names 3 shards"),
        (_rename("model-00001-of-00002.safetensors\n"), "not an index"),
        (_rename(1), "not an index"),
        (lambda i: i["weight_map"].pop("latent.head.bias"), "'head.bias' of the latent is missing"),
        (lambda i: i["weight_map"].update(x="model-00001-of-00002.safetensors"), "'x' does not belong"),
        (lambda i: i.update(weight_map=[]), "not an index"),
        (lambda i: i.update(auto_map="x.py"), "not an index"),
        (lambda i: i.update(weight_map=_swapped(i["weight_map"])), "is missing"),
    ],
)
def test_an_index_is_not_believed(make, tmp_path: Path, change, said: str) -> None:
    folder = _sharded(make(), tmp_path / "shards", change)
    with pytest.raises(CheckpointError, match=said):
        vaekit.load(folder)


# Where a name is looked for.


def test_local_or_on_the_hub_is_never_a_guess(hub, folder: Path, cache: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.put("alice/vae", folder)
    for given in ["./alice/vae", "../alice/vae", "/alice/vae", "~/alice-vae", Path("alice/vae")]:
        with pytest.raises(CheckpointError, match=r"no folder .*: give a run, a model folder, a repo"):
            vaekit.load(given)
    assert hub.asked() == []
    assert vaekit.load("alice/vae", cache_dir=cache).source.startswith("alice/vae@")
    hub.asked()
    (tmp_path / "alice" / "vae").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds no model: .*; the folder hides the repo of that name: alice/vae@main is"):
        vaekit.load("alice/vae")
    assert hub.asked() == []
    assert vaekit.load("alice/vae@main", cache_dir=cache).source.startswith("alice/vae@")
    hub.asked()
    shutil.copytree(folder, tmp_path / "alice" / "vae", dirs_exist_ok=True)
    assert vaekit.load("alice/vae").source == "alice/vae"
    assert hub.asked() == []


@pytest.mark.parametrize(
    "given",
    [
        "vae",
        "a/b/c",
        "alice/vae@",
        "alice/vae@../x",
        "alice/../vae",
        "https://x.org/a",
        "alice/v ae",
        "a--b/c",
        "alice/vae@a..b",
        "~nobody-of-that-name/x",
        "a" * 5000,
        "./" + "a" * 300,
        "a\0b",
    ],
)
def test_what_is_neither_says_both_readings(hub, given: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no folder .*, nor is that a repo on the Hub, user/model or user/model@rev"):
        vaekit.load(given)
    assert hub.asked() == []


def test_revisions_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names a revision and so does"):
        vaekit.load("alice/vae@v1", revision="v2")
    for revision in ("../../x", 5):
        with pytest.raises(ConfigError, match="is not a revision"):
            vaekit.load("alice/vae", revision=revision)
    with pytest.raises(ConfigError, match="is a folder here, which has no revision"):
        vaekit.load(folder, revision="v1")


def test_data_are_not_prepared_otherwise_than_the_model_takes_them(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for change in ({"resize": [4096, 4096]}, {"crop": 4096}):
        config["data"] = {"name": "digits", "examples": 1, **change}
        (folder / "config.json").write_text(json.dumps(config))
        done = _run("reconstruct", str(folder))
        assert isinstance(done.exception, ConfigError)
        assert re.search(r"images were brought to 4096x4096, and takes data of shape \(1, 6, 5\)", str(done.exception))


def test_a_dtype_that_no_model_can_have(folder: Path) -> None:
    for dtype in (torch.int32, "float16"):
        with pytest.raises(ConfigError, match=r"cannot be of \S+: give a dtype of floating point, such as torch.float16"):
            vaekit.load(folder, dtype=dtype)


# Offline, other endpoints, other homes: in processes of their own, since the client reads its environment once.


def _child(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


def test_offline_and_with_another_home(hub, folder: Path, cache: Path, tmp_path: Path) -> None:
    commit = hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=tmp_path / "home" / "hub")
    hub.asked()
    home = {"HF_HOME": str(tmp_path / "home")}
    code = f"""
import vaekit
for given in ("alice/vae", "alice/vae@{commit}", "alice/other"):
    try:
        print(vaekit.load(given).source)
    except vaekit.VaekitError as error:
        print(type(error).__name__, error)
"""
    done = _child(code, **home, HF_HUB_OFFLINE="1")
    assert done.stdout.splitlines()[:2] == [f"alice/vae@{commit}"] * 2, done.stderr
    assert "HubError HF_HUB_OFFLINE is set, and alice/other is neither in the cache" in done.stdout
    assert hub.asked() == []
    dead = _child(code, **home, HF_ENDPOINT="http://127.0.0.1:9")
    assert dead.stdout.splitlines()[:2] == [f"alice/vae@{commit}"] * 2, dead.stderr
    assert "the Hub at http://127.0.0.1:9 cannot be reached: check the network" in dead.stdout
    assert "; alice/other is neither in the cache" in dead.stdout
    assert hub.asked() == []


def test_what_is_not_all_in_the_cache(hub, folder: Path, cache: Path) -> None:
    commit = hub.put("alice/vae", folder)
    Snapshot("alice/vae", cache_dir=cache).get("config.json", 0, 10**6)
    hub.asked()
    with pytest.raises(HubError, match="not all of alice/vae is in the cache, and local_files_only is set: leave it out"):
        vaekit.load("alice/vae", cache_dir=cache, local_files_only=True)
    with pytest.raises(HubError, match=r"local_files_only is set, and alice/vae@v1 is neither in the cache"):
        vaekit.load("alice/vae@v1", cache_dir=cache, local_files_only=True)
    assert hub.asked() == []
    assert vaekit.load("alice/vae", revision=commit, cache_dir=cache).source == f"alice/vae@{commit}"
    assert len(hub.asked()) == 3, "what the commit holds, and the weights"


def test_a_hub_that_is_out_of_order_with_a_warm_cache(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    model = vaekit.load("alice/vae", cache_dir=cache)
    hub.fault("status", status=503, times=99)
    assert vaekit.load("alice/vae", cache_dir=cache).source == model.source
    with pytest.raises(HubError, match=r"is out of order \(status 503\): try later"):
        vaekit.load("alice/other", cache_dir=cache)


# What people meet.


def test_no_such_repo_private_and_gated(hub, folder: Path, cache: Path) -> None:
    with pytest.raises(HubError, match=r"no repo alice/vae at http.*, nor a folder here, or it is private: check the name"):
        vaekit.load("alice/vae", cache_dir=cache)
    hub.put("alice/vae", folder, private=True)
    for token in (None, False, hub.bob):
        with pytest.raises(HubError, match=r"it is private.*hf auth login"):
            vaekit.load("alice/vae", cache_dir=cache, token=token)
    assert vaekit.load("alice/vae", cache_dir=cache, token=hub.alice).sample(1).shape == (1, 1, 6, 5)
    hub.put("alice/gated", folder, gated="manual")
    for token in (None, hub.bob):
        with pytest.raises(HubError, match=r"alice/gated is gated: ask for access at http\S+/alice/gated, then log in"):
            vaekit.load("alice/gated", cache_dir=cache, token=token)
    hub.put("alice/open", folder)
    hub.fault("status", "resolve", status=403, headers={"X-Error-Code": "GatedRepo"})  # what is in it may be seen by all
    with pytest.raises(HubError, match="alice/open is gated: ask for access"):
        vaekit.load("alice/open", cache_dir=cache)
    hub.put("alice/off", folder, disabled=True)
    with pytest.raises(HubError, match="has been disabled"):
        vaekit.load("alice/off", cache_dir=cache)


def test_a_bad_token_is_told_and_never_shown(hub, folder: Path, cache: Path, caplog, capfd) -> None:
    hub.put("alice/vae", folder)
    bad = "hf_" + "xYz123" * 6
    with pytest.raises(HubError, match="does not know the token: log in") as caught:
        vaekit.load("alice/vae", cache_dir=cache, token=bad)
    hub.fault("status", status=418, message=f"what is {bad} and {hub.alice}")
    with pytest.raises(HubError, match="what is hf_… and hf_…") as echoed:
        vaekit.load("alice/vae", cache_dir=cache, token=bad)
    with pytest.raises(CheckpointError) as as_name:
        vaekit.load(bad)
    out = "".join(capfd.readouterr()) + caplog.text
    for text in (str(caught.value), str(echoed.value), str(as_name.value), out):
        assert bad not in text
        assert "xYz123" not in text
        assert caught.value.__cause__ is None
    with pytest.raises(HubError, match="no token is here"):
        vaekit.load("alice/vae", cache_dir=cache, token=True)


def test_a_token_that_is_not_plain_is_not_shown_either(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    for token in ("a token\nof two lines", "hf_aLiCe–aLiCe4aLiCe4", ""):
        with pytest.raises(ConfigError, match="the token is none of the Hub's: give one line of letters") as caught:
            vaekit.load("alice/vae", cache_dir=cache, token=token)
        assert not re.search("two lines|aLiCe", str(caught.value))
    token = "hf_oauth_eyJh-bGci.eyJh-bGci.eyJh-bGci."
    for given in (f"{token}\n", None):
        hub.fault("status", status=418, message=f"what is {token}?")
        with pytest.raises(HubError, match=r": what is hf_…\?$"):
            vaekit.load("alice/vae", cache_dir=cache, token=given)
    assert vaekit.load("alice/vae", cache_dir=cache, token=f" {hub.alice}\n")


def test_a_token_that_was_saved_is_in_no_message(hub, folder: Path, cache: Path, tmp_path: Path, monkeypatch) -> None:
    hub.put("alice/vae", folder)
    (tmp_path / "token").write_text("of-another-form\n")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    hub.fault("status", status=418, message="what is of-another-form?")
    with pytest.raises(HubError, match=r"what is hf_…\?"):
        vaekit.load("alice/vae", cache_dir=cache, token=False)


def test_the_store_of_blobs_never_sees_the_token(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder, private=True)
    vaekit.load("alice/vae", cache_dir=cache, token=hub.alice)
    log = list(hub.state.log)
    assert {entry["origin"] for entry in log} == {"hub", "cdn"}
    assert {entry["user"] for entry in log if entry["origin"] == "cdn"} == {None}
    assert {entry["user"] for entry in log if entry["origin"] == "hub"} == {"alice"}
    assert {entry["status"] for entry in log} <= {200, 302}
    assert all("vaekit/" in entry["user_agent"] for entry in log if entry["origin"] == "hub")
    for path in cache.rglob("*"):
        assert hub.alice not in path.name
        assert not path.is_file() or hub.alice.encode() not in path.read_bytes()


def test_a_revision_or_a_file_that_is_not_there(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    with pytest.raises(HubError, match="alice/vae has no revision v9: give a branch, a tag or a commit"):
        vaekit.load("alice/vae@v9", cache_dir=cache)
    with pytest.raises(HubError, match="has no revision"):
        vaekit.load("alice/vae", revision="0" * 40, cache_dir=cache)
    config = (folder / "config.json").read_bytes()
    hub.put("alice/half", {"config.json": config})
    with pytest.raises(CheckpointError, match=r"alice/half@\w+ has no model.safetensors"):
        vaekit.load("alice/half", cache_dir=cache)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}'}, "a model of transformers"),
        ({"config.json": b'{"_class_name": "AutoencoderKL"}'}, "a diffusers model"),
        ({"model_index.json": b"{}"}, "a diffusers model"),
        ({"config.json": b'{"architecture": "vit", "pretrained_cfg": {}}'}, "a timm model"),
        ({"model_config.json": b"{}", "environment.json": b"{}", "model.pt": b"x"}, "a pythae model"),
        ({"pytorch_model.bin": b"x"}, "pickles such as pytorch_model.bin, which can run code and which vaekit never opens"),
        ({"\x1b]0;\n.bin": b"x"}, r"pickles such as .x1b\]0; \.bin, which"),
        ({"README.md": b"hello"}, "holds no model: there is no config.json"),
    ],
)
def test_a_model_that_is_not_ours_says_what_it_seems_to_be(hub, cache: Path, files, said: str, tmp_path: Path) -> None:
    hub.put("alice/vae", files)
    with pytest.raises((CheckpointError, ConfigError), match=said):
        vaekit.load("alice/vae", cache_dir=cache)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises((CheckpointError, ConfigError), match=said):
        vaekit.load(tmp_path)
    assert not [line for line in hub.asked() if re.search(r"\.(bin|pt)$", line)]


def test_packages_that_are_older_than_those_of_the_model(hub, folder: Path, cache: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["new-option"] = 1
    for package, cure in (("vaekit", ": pip install --upgrade vaekit"), ("torch", "")):
        changed = json.dumps({**config, "plugins": {package: "999.0"}}).encode()
        hub.put("alice/vae", {"config.json": changed})
        with pytest.raises(vaekit.VaekitError, match=f"made with {package} 999.0, and .* is installed{cure}$"):
            vaekit.load("alice/vae", cache_dir=cache)
    hub.put("alice/vae", {"config.json": json.dumps({**config, "vaekit": 2}).encode()})
    with pytest.raises(ConfigError, match="format 2 is newer than this vaekit reads"):
        vaekit.load("alice/vae", cache_dir=cache)


def test_no_weight_is_asked_for_before_the_parts_are_found(hub, folder: Path, cache: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    weights = (folder / "model.safetensors").read_bytes()
    config["encoder"] = {"name": "evil"}
    config["plugins"] = {"evil-package": "1"}
    hub.put("alice/vae", {"config.json": json.dumps(config).encode(), "model.safetensors": weights})
    with pytest.raises(vaekit.UnknownPart, match=r"unknown encoder 'evil'.*'evil-package'; installing a package runs") as e:
        vaekit.load("alice/vae", cache_dir=cache)
    assert "pip install" not in str(e.value)
    assert not [line for line in hub.asked() if "safetensors" in line or "cdn" in line]
    assert len(list(cache.rglob("blobs/*"))) == 1


def test_the_command_to_install_is_that_of_our_own_part_and_no_other(hub, folder: Path, cache: Path, monkeypatch) -> None:
    monkeypatch.setitem(EXTRAS, ("encoder", "gone"), "gone")
    config = json.loads((folder / "config.json").read_text()) | {"encoder": {"name": "gone"}, "plugins": {"evil": "1"}}
    hub.put("alice/vae", {"config.json": json.dumps(config).encode(), "model.safetensors": b"x"})
    with pytest.raises(vaekit.UnknownPart, match=r"vaekit-gone, which is not installed: pip install 'vaekit\[gone\]'") as e:
        vaekit.load("alice/vae", cache_dir=cache)
    assert str(e.value).count("pip install") == 1
    done = _run("info", "alice/vae")
    assert done.exit_code == 0, done.output
    assert "pip install 'vaekit[gone]'" in done.output
    assert "evil 1 (not installed)" in done.output
    assert not [line for line in hub.asked() if "safetensors" in line]


def test_weights_of_another_size_than_the_config_means_are_not_fetched(hub, folder: Path, cache: Path) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.put("alice/vae", {**content, "model.safetensors": content["model.safetensors"] + b"\0" * 2_000_000})
    with pytest.raises(CheckpointError, match=r"alice/vae@\w{7}/model.safetensors has 2,\d+,\d+ bytes; .* so it is not read"):
        vaekit.load("alice/vae", cache_dir=cache)
    hub.put("alice/vae", {**content, "model.safetensors": b"x"})
    with pytest.raises(CheckpointError, match="has 1 bytes"):
        vaekit.load("alice/vae", cache_dir=cache)
    hub.put("alice/vae", content)
    with pytest.raises(
        CheckpointError, match=r"asks for [0-9,]+ bytes of memory, more than the 1,000 allowed: .* vaekit.load\(..., max_bytes"
    ):
        vaekit.load("alice/vae", cache_dir=cache, max_bytes=1000)
    hub.put("alice/vae", {**content, "config.json": b" " * 1_000_001})
    with pytest.raises(CheckpointError, match=r"config.json has 1,000,001 bytes"):
        vaekit.load("alice/vae", cache_dir=cache)
    assert not [line for line in hub.asked() if "safetensors" in line]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_download_that_came_damaged_is_told_and_removed(hub, folder: Path, cache: Path, name: str) -> None:
    hub.put("alice/vae", folder)
    hub.fault("corrupt", "resolve/.*/config.json" if name == "config.json" else "^/models/", method="GET")
    with pytest.raises(CheckpointError, match=f"{name} came damaged: .*; it is removed from the cache, so try again"):
        vaekit.load("alice/vae", cache_dir=cache)
    assert not list(cache.rglob(name))
    assert vaekit.load("alice/vae", cache_dir=cache).sample(1).shape == (1, 1, 6, 5)


def test_a_damaged_file_that_cannot_be_removed_is_named(hub, folder: Path, cache: Path, monkeypatch) -> None:
    commit = hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    weights = next(cache.rglob("model.safetensors")).resolve()
    weights.write_bytes(bytes(weights.stat().st_size))

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CheckpointError, match=rf"came damaged: .* cannot be removed .*: remove {weights}, then try again"):
        vaekit.load("alice/vae", revision=commit, cache_dir=cache)


def test_a_cache_that_rots_is_told_and_mended(hub, folder: Path, cache: Path) -> None:
    commit = hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    weights = next(cache.rglob("model.safetensors")).resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o600)
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="came damaged"):
        vaekit.load("alice/vae", revision=commit, cache_dir=cache, local_files_only=True)
    assert vaekit.load("alice/vae", revision=commit, cache_dir=cache).source == f"alice/vae@{commit}"


def test_a_cache_without_links_is_checked_against_the_hub(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    weights = next(cache.rglob("model.safetensors"))
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="came damaged"):
        vaekit.load("alice/vae", cache_dir=cache)
    assert not weights.exists()
    assert vaekit.load("alice/vae", cache_dir=cache)


def test_a_link_out_of_the_cache_is_not_followed(hub, folder: Path, cache: Path) -> None:
    commit = hub.put("alice/vae", folder)
    vaekit.load("alice/vae", cache_dir=cache)
    weights = next(cache.rglob("model.safetensors"))
    weights.unlink()
    weights.symlink_to(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="lies outside the cache"):
        vaekit.load("alice/vae", revision=commit, cache_dir=cache)


def test_an_interrupted_download_goes_on_where_it_was(hub, make, tmp_path: Path, cache: Path, monkeypatch) -> None:
    model = make(encoder={"hidden": [512, 512]})
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2**16)
    hub.put("alice/vae", model.save(tmp_path / "big"))
    hub.fault("truncate", "^/models/", method="GET")
    assert _same(vaekit.load("alice/vae", cache_dir=cache), model)
    ranges = [entry["range"] for entry in hub.state.log if entry["origin"] == "cdn"]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=\d{4,}-", ranges[1])


def test_a_size_that_was_not_announced_is_an_error(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    hub.fault("header", "resolve/.*/model.safetensors", method="HEAD", headers={"X-Linked-Size": "12"})
    with pytest.raises(HubError, match="not of the size that was announced: try again"):
        vaekit.load("alice/vae", cache_dir=cache)
    assert not list(cache.rglob("model.safetensors"))
    assert vaekit.load("alice/vae", cache_dir=cache)


def test_an_endpoint_that_is_no_hub(hub, folder: Path, cache: Path) -> None:
    hub.put("alice/vae", folder)
    hub.fault("header", "resolve", method="HEAD", headers={"X-Repo-Commit": None})
    with pytest.raises(HubError, match="does not answer as a Hub does: correct or unset HF_ENDPOINT"):
        vaekit.load("alice/vae", cache_dir=cache)
    hub.fault("status", status=404)
    with pytest.raises(HubError, match="is it a Hub"):
        vaekit.load("alice/vae", cache_dir=cache)


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "too many requests"), (403, "may not do that"), (500, r"out of order \(status 500\)"), (503, r"out of order")],
)
@pytest.mark.parametrize("path", ["/api/models", "/resolve/"])
@pytest.mark.usefixtures("patient")
def test_other_answers_of_the_hub(hub, folder: Path, cache: Path, status: int, said: str, path: str) -> None:
    hub.put("alice/vae", folder)
    hub.fault("status", path, status=status, times=99)
    with pytest.raises(HubError, match=said) as caught:
        vaekit.load("alice/vae", cache_dir=cache)
    assert "\n" not in str(caught.value)
    assert "network" not in str(caught.value)


def test_a_full_disk_and_a_cache_that_cannot_be_written(hub, folder: Path, cache: Path, monkeypatch) -> None:
    import errno

    from huggingface_hub import file_download

    hub.put("alice/vae", folder)
    for number, said in [
        (errno.ENOSPC, f"the disk is full: free some of {cache}"),
        (errno.EROFS, "cannot be written: set HF_HOME"),
    ]:

        def fail(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(file_download, "http_get", fail)
            with pytest.raises(HubError, match=said):
                vaekit.load("alice/vae", cache_dir=cache)
    assert not list(cache.rglob("*.incomplete"))
    assert vaekit.load("alice/vae", cache_dir=cache)


@pytest.mark.parametrize(
    "card",
    [
        "model-index: [1]",
        "model-index: 5",
        "model-index:\n- name: {}\n  results: 3",
        "model-index:\n- name: x\n  results:\n  - task: 5\n    dataset: 6\n    metrics: 7",
        "model_name: m\neval_results: [a, b]",
        "model_name: m\neval_results: {a: 1}",
        "eval_results: [a]",
        "self: 1",
        "ignore_metadata_errors: true",
        "language: 5\ntags: {a: 1}",
        "\xff",
    ],
)
def test_a_card_that_makes_no_sense_stops_nothing(hub, folder: Path, tmp_path: Path, card: str, capfd) -> None:
    written = f"---\n{card}\n---\n".encode("latin-1")
    hub.put("alice/odd", {**{path.name: path.read_bytes() for path in folder.iterdir()}, "README.md": written})
    assert vaekit.load("alice/odd", cache_dir=tmp_path / "cache")
    assert vaekit.io.look("alice/odd").reported == []
    assert (vaekit.io.pull("alice/odd", tmp_path / "pulled") / "README.md").read_bytes() == written
    assert "".join(capfd.readouterr()) == ""


def test_a_card_that_is_too_large_is_left_out(hub, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.put("alice/long", {**content, "README.md": b"x" * 1_000_001})
    done = _run("pull", "alice/long")
    assert done.exit_code == 0, done.output
    assert re.search(r"note: the card is left out: alice/long@\w{7}/README.md has 1,000,001 bytes", done.stderr)
    assert sorted(path.name for path in Path("long").iterdir()) == ["config.json", "model.safetensors"]
    with pytest.warns(UserWarning, match="the card is left out"):
        vaekit.io.pull("alice/long")


# On the command line.


def _run(*arguments: str):
    from typer.testing import CliRunner

    return CliRunner().invoke(app, list(arguments))


def test_a_repo_wherever_a_model_is_asked_for(hub, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.put("alice/digits", folder)
    done = _run("sample", "alice/digits", "-n", "4")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "sample-seed0.png").is_file()


CARD = b"""---
library_name: vaekit
model-index:
- name: x
  results:
  - task: {type: unconditional-image-generation}
    dataset: {name: Digits, type: digits}
    metrics:
    - {type: nelbo, value: 12.5, name: "negative ELBO"}
---
"""


def test_info_of_a_repo_fetches_no_weights(hub, folder: Path) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    commit = hub.put("alice/told", {**content, "README.md": CARD})
    done = _run("info", "alice/told")
    assert done.exit_code == 0, done.output
    assert f"alice/told@{commit}" in done.output
    assert "negative ELBO 12.5  Digits" in done.output
    assert not [line for line in hub.asked() if "safetensors" in line]
    pinned = _run("info", f"alice/told@{commit}")
    assert pinned.output == done.output
    document = json.loads(_run("info", "alice/told", "--json").stdout)
    assert document["parameters"] == json.loads(_run("info", str(folder), "--json").stdout)["parameters"]
    assert document["missing"] == {}
    config = json.loads(content["config.json"])
    config |= {"encoder": {"name": "evil"}, "loss": {"name": "iwaee"}}
    hub.put("alice/told", {"config.json": json.dumps(config).encode()})
    done = _run("info", "alice/told")
    assert done.exit_code == 0, done.output
    assert re.search(r"encoder +evil  not installed", done.output)
    assert "needed to train on, not to load" in done.output
    assert "pip install" not in done.output
    config |= {"plugins": {"vaekit": vaekit.__version__, "vaekit-lstm": "999", "evil": "1"}}
    hub.put("alice/told", {"config.json": json.dumps(config).encode()})
    done = _run("info", "alice/told")
    assert re.search(
        rf"plugins +vaekit {vaekit.__version__}, vaekit-lstm 999 \(\S+ installed\), evil 1 \(not installed\)", done.output
    )


def test_info_says_where_there_are_no_weights_to_read(hub, folder: Path) -> None:
    config = (folder / "config.json").read_bytes()
    hub.put("alice/told", {"config.json": config, "pytorch_model.bin": b"x"})
    done = _run("info", "alice/told")
    assert done.exit_code == 0, done.output
    assert re.search("weights +none that vaekit reads: no model.safetensors; it holds pickles such as pytorch_m", done.output)
    (folder / "model.safetensors").unlink()
    assert json.loads(_run("info", str(folder), "--json").stdout)["lacking"] == "no model.safetensors"


def test_info_as_json_cannot_change_a_terminal(folder: Path) -> None:
    classes = ["\x9b31m", "\u202eabc", "\u2066", "é\u3000\U000e0001"]
    config = json.loads((folder / "config.json").read_text())
    config |= {"data": {"name": "x", "examples": 1}, "loss": {"name": "elbo", **dict.fromkeys(classes, 1)}}
    (folder / "config.json").write_text(json.dumps(config))
    said = _run("info", str(folder), "--json").stdout
    assert json.loads(said)["config"]["loss"].keys() == {"name", *classes}
    assert said.replace("\n", "").isprintable()
    assert "é" in said


def test_the_results_of_a_card_are_not_believed(hub, folder: Path) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    for value in ("12.5", ".nan", ".inf", "true", "[1]", "text", "9" * 400):
        card = CARD.replace(b"value: 12.5", f"value: {value}".encode()).replace(b"negative", b"\\e[2J\\nnegative")
        hub.put("alice/told", {**content, "README.md": card})
        done = _run("info", "alice/told")
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.output
        assert ("negative ELBO 12.5" in done.output) == (value == "12.5")


def test_pull_writes_a_model_folder(hub, make, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    old = hub.put("alice/pulled", {**content, "evil.py": b"1", "pytorch_model.bin": b"x"})
    assert _run("pull", "alice/pulled").output == "pulled\n"
    assert {path.name: path.read_bytes() for path in Path("pulled").iterdir()} == content
    assert not any(path.is_symlink() for path in Path("pulled").iterdir())
    hub.put("alice/pulled", _sharded(make(latent={"features": 3}), tmp_path / "shards"))
    assert _run("pull", "alice/pulled", "pulled").exit_code == 0
    assert "model.safetensors" not in {path.name for path in Path("pulled").iterdir()}
    assert vaekit.load("pulled").encode(torch.zeros(1, 1, 6, 5)).shape == (1, 3)
    assert _run("pull", "alice/pulled", "pulled", "--revision", old).exit_code == 0
    assert {path.name: path.read_bytes() for path in Path("pulled").iterdir()} == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pulled", "saved", "shards"]


def test_pull_replaces_nothing_but_a_model(hub, folder: Path, tmp_path: Path) -> None:
    hub.put("alice/pulled", folder)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds more than a model, 'thesis.tex' for one"):
        vaekit.io.pull("alice/pulled", target)
    assert hub.asked() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="and no folder"):
        vaekit.io.pull("alice/pulled", tmp_path / "file")
    assert [path.name for path in target.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("late", [False, True])
def test_pull_removes_nothing_that_came_meanwhile(hub, folder: Path, tmp_path: Path, monkeypatch, late: bool) -> None:
    hub.put("alice/pulled", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write, remove = shutil.copyfile, vaekit.io._remove_model

    def writing(source: Path, target: Path) -> None:
        (folder / "thesis.tex").write_text("mine")
        write(source, target)

    def removing(former: Path) -> None:
        (former / "thesis.tex").write_text("mine")
        remove(former)

    if late:
        monkeypatch.setattr("vaekit.io._remove_model", removing)
        with pytest.raises(CheckpointError, match=r"what was there before is still in .*saved.old-\d+ and cannot be removed"):
            vaekit.io.pull("alice/pulled", folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert [path.name for path in next(tmp_path.glob(".saved.old-*")).iterdir()] == ["thesis.tex"]
        return
    monkeypatch.setattr("vaekit.io.shutil.copyfile", writing)
    with pytest.raises(ConfigError, match=r"saved is there already and holds more than a model, 'thesis.tex' for one"):
        vaekit.io.pull("alice/pulled", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**before, "thesis.tex": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_pull_replaces_no_model_of_a_run_and_no_folder_in_a_model(hub, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run / "model")
    (run / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="model is of a run, whose record is of the model that was trained there"):
        vaekit.io.pull("alice/pulled", run / "model")
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    with pytest.raises(ConfigError, match=r"holds more than a model, 'README.md' for one"):
        vaekit.io.pull("alice/pulled", folder)
    assert hub.asked() == []


def test_pull_replaces_no_model_of_others(hub, folder: Path, tmp_path: Path, monkeypatch) -> None:
    hub.put("alice/pulled", folder)
    target = tmp_path / "bert"
    target.mkdir()
    (target / "README.md").write_text("mine")
    for config in (None, '{"model_type": "bert"}'):
        if config:
            (target / "config.json").write_text(config)
        with pytest.raises(ConfigError, match="is there already, and what it holds is no model of vaekit: give another"):
            vaekit.io.pull("alice/pulled", target)
        assert (target / "README.md").read_text() == "mine"
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="the folder that you are in: give one inside it"):
        vaekit.io.pull("alice/pulled", ".")
    assert hub.asked() == []


def test_pull_that_cannot_write_leaves_what_is_there(hub, folder: Path, tmp_path: Path, monkeypatch) -> None:
    hub.put("alice/pulled", {path.name: path.read_bytes() for path in folder.iterdir()})

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"x")
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("vaekit.io.shutil.copyfile", full)
        with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
            vaekit.io.pull("alice/pulled", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_pull_of_a_bad_model_writes_nothing(hub, folder: Path, tmp_path: Path) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.put("alice/pulled", {**content, "model.safetensors": content["model.safetensors"][:-4] + b"\0\0\xc0\x7f"})
    before = vaekit.load(folder)
    with pytest.raises(CheckpointError, match="not finite"):
        vaekit.io.pull("alice/pulled", folder)
    assert _same(vaekit.load(folder), before)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]

"""Publishing: the real client against a Hub on this machine, and the card that a model has there."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner, Result

import vaekit.evaluation
from vaekit import CheckpointError, ConfigError, HubError, UnknownPart, publish, space
from vaekit.card import card as folder_card
from vaekit.card import plain
from vaekit.cli import app, overrides
from vaekit.config import DataInfo
from vaekit.hubcard import About, hub_card
from vaekit.repeating import command

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
"""Between the Hub's client and its transport, on an upload over HTTP."""
SMALL = {"encoder": {"hidden": [8]}, "latent": {"features": 2}, "decoder": {"hidden": [8]}}
QUICK = {"validation": 1500, "test": 100, "binarize": "dynamic"}
HOSTILE = ("a|b", "`rm`\\", "</td><script>", "---", "x: [y]", "![](http://evil)", "&amp;|", "*b*_i_", "$x$", "@all #1", "\\|")
MODEL = {"README.md", "config.json", "model.safetensors"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, with things in it that are nobody's business."""
    folder = tmp_path_factory.mktemp("secret-place")
    run = vaekit.fit("digits", **SMALL, data_options=QUICK, epochs=1, output=folder, name="run", progress=False)
    for name in (".env", "model/.env", "model/secret.txt", "figures/face.png", "model/pytorch_model.bin", "checkpoints/x.pt"):
        (run.path / name).write_bytes(b"PLANTED")
    return run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> vaekit.Run:
    """A copy of it."""
    import shutil

    return vaekit.Run(shutil.copytree(trained, tmp_path / "secret-place" / "run"))


@pytest.fixture(autouse=True)
def _logged_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "hub" in request.fixturenames:
        monkeypatch.setenv("HF_TOKEN", request.getfixturevalue("hub").alice)


def _run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _there(hub: Any, repo: str, kind: str = "models", branch: str = "main") -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The files of a repo by name, but for what the Hub puts there itself; and its commits, the newest first."""
    found = hub.state.repo(kind, *repo.split("/"))
    oid: str | None = found.state["branches"][branch]
    commits = []
    while oid:
        commits.append(found.commit(oid))
        oid = next(iter(commits[-1]["parents"]), None)
    entries = commits[0]["files"].items()
    return {name: found.content_path(entry).read_bytes() for name, entry in entries if name != ".gitattributes"}, commits


def _card(text: str | bytes) -> Any:
    """A card as the client reads it, which must read it as it was written."""
    from huggingface_hub import ModelCard

    content = text.decode() if isinstance(text, bytes) else text
    card = ModelCard(content)
    assert str(card) == content
    return card


def test_one_commit_of_what_is_listed_and_nothing_else(hub: Any, run: vaekit.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "planted-user")
    url = run.model.push_to_hub("alice/model", license="mit", message="the first")
    files, commits = _there(hub, "alice/model")
    assert set(files) == MODEL | {"curves.png", "manifold.png", "reconstructions.png", "samples.png"}
    assert [commit["title"] for commit in commits] == ["the first", "initial commit"]
    assert url == f"{hub.url}/alice/model/commit/{hub.state.repo('models', 'alice', 'model').resolve('main')}"
    everything = b"".join(files.values()) + json.dumps(commits).encode()
    assert b"PLANTED" not in everything
    assert b"secret-place" not in everything
    assert b"planted-user" not in everything
    assert os.path.expanduser("~").encode() not in everything
    for name in ("curves.png", "samples.png"):
        assert files[name] == (run.path / "figures" / name).read_bytes()
        assert f"]({name})" in files["README.md"].decode()


def test_the_hub_checks_the_card_before_anything_is_made(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    make().push_to_hub("alice/model", license="mit")
    asked = hub.asked()
    assert asked[:3] == ["GET /api/models/alice/model", "POST /api/validate-yaml", "POST /api/repos/create"]
    assert [line for line in asked if line.startswith("POST") and "/commit/" in line] == [
        "POST /api/models/alice/model/commit/main"
    ]
    hub.fault("status", "validate-yaml", status=400, message="license must be one of …")
    with pytest.raises(HubError, match=r"does not take the card of alice/other.*license must be one of.*repositories-licenses"):
        make().push_to_hub("alice/other", license="my-own")
    assert hub.asked() == ["GET /api/models/alice/other", "POST /api/validate-yaml"]


def test_what_comes_back_is_the_same_to_the_bit(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make(likelihood="gaussian", context={"name": "labels", "classes": 3})
    model.push_to_hub("alice/model", license="mit")
    loaded = vaekit.load("alice/model")
    assert loaded.config == model.config
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(loaded.sample(5, y=1, seed=0), model.sample(5, y=1, seed=0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_config_tells_the_dtype_that_was_published(hub: Any, make: Callable[..., vaekit.VAE], dtype: torch.dtype) -> None:
    make().to(dtype).push_to_hub("alice/model", license="mit")
    assert next(vaekit.load("alice/model").parameters()).dtype == dtype


def test_another_push_is_one_more_commit_and_the_same_one_is_none(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    first = model.push_to_hub("alice/model", license="mit")
    assert model.push_to_hub("alice/model", license="mit") == first
    with torch.no_grad():
        next(model.parameters()).add_(1)
    second = model.push_to_hub("alice/model", license="mit")
    _, commits = _there(hub, "alice/model")
    assert len(commits) == 3
    assert second != first
    changed = {name for name, entry in commits[0]["files"].items() if entry != commits[1]["files"].get(name)}
    assert changed == {"model.safetensors"}


def test_parts_of_a_larger_model_come_back_and_go_when_they_no_longer_belong(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    pushed = publish.push(model, "alice/model", license="mit", most_bytes=1000)
    shards = {name for name in pushed.files if "-of-" in name}
    assert len(shards) > 2
    assert set(pushed.files) == shards | {"README.md", "config.json", "model.safetensors.index.json"}
    loaded = vaekit.load("alice/model")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    fewer = publish.push(model, "alice/model", license="mit", most_bytes=2000)
    assert 1 < len([name for name in fewer.files if "-of-" in name]) < len(shards)
    files, _ = _there(hub, "alice/model")
    assert set(files) == set(fewer.files)
    hub.put("alice/model", {**files, "notes.txt": b"mine", "samples.png": b"ours"})
    model.push_to_hub("alice/model", license="mit")
    files, commits = _there(hub, "alice/model")
    assert set(files) == MODEL | {"notes.txt", "samples.png"}
    assert len(commits) == 5


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("/commit/", 500, r"is out of order \(status 500\): try later"),
        ("/objects/verify", 422, r"refuses it \(status 422\)"),
    ],
)
def test_a_push_that_fails_changes_nothing(hub: Any, make: Any, where: str, status: int, said: str) -> None:
    make().push_to_hub("alice/model", license="mit")
    before = _there(hub, "alice/model")
    hub.fault("status", where, status=status)
    with pytest.raises(HubError, match=said):
        make(likelihood="gaussian").push_to_hub("alice/model", license="mit")
    assert _there(hub, "alice/model") == before


def test_a_race_is_told_plainly_and_overwrites_nothing(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    model.push_to_hub("alice/model", license="mit")
    hub.asked()
    hub.fault("delay", "preupload", seconds=1.0)

    def meanwhile() -> None:
        while sum(entry["method"] == "GET" and "/api/models/alice/model" in entry["path"] for entry in hub.state.log) < 2:
            time.sleep(0.01)
        files, _ = _there(hub, "alice/model")
        hub.put("alice/model", {**files, "theirs.txt": b"theirs"})

    other = threading.Thread(target=meanwhile, daemon=True)
    other.start()
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(
        HubError, match=r"alice/model has changed while this was being pushed.*vaekit pull alice/model.*push again"
    ):
        model.push_to_hub("alice/model", license="mit")
    other.join()
    assert "theirs.txt" in _there(hub, "alice/model")[0]
    model.push_to_hub("alice/model", license="mit")
    assert "theirs.txt" in _there(hub, "alice/model")[0]


def test_the_license_changes_and_nothing_else_where_the_model_is_there(hub: Any, run: vaekit.Run) -> None:
    run.model.push_to_hub("alice/model", license="mit")
    files, _ = _there(hub, "alice/model")
    edited = files["README.md"].replace(b"## Use", b"license: none here\n\n## Use as I like it")
    hub.put("alice/model", {**files, "README.md": edited})
    model = vaekit.load("alice/model")
    pushed = publish.push(model, "alice/model", license="apache-2.0")
    assert pushed.notes == ("the very same model is there already: its card is kept, with the license apache-2.0",)
    after, _ = _there(hub, "alice/model")
    assert after == {**files, "README.md": edited.replace(b"\nlicense: mit\n", b"\nlicense: apache-2.0\n")}
    assert _card(after["README.md"]).data.license == "apache-2.0"
    hub.put("alice/odd", {**files, "README.md": b"---\nlicense:\n- mit\n---\n# mine\n"})
    assert not publish.push(model, "alice/odd", license="mit").notes
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    assert not publish.push(model, "alice/model", license="mit").notes
    assert "base_model" not in _there(hub, "alice/model")[0]["README.md"].decode()


def test_a_card_that_changes_meanwhile_is_not_overwritten(
    hub: Any, make: Callable[..., vaekit.VAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make()
    model.push_to_hub("alice/model", license="mit")
    files, _ = _there(hub, "alice/model")
    look = publish.card_there

    def slowly(*arguments: Any, **options: Any) -> Any:
        found = look(*arguments, **options)
        hub.put("alice/model", {**files, "README.md": files["README.md"] + b"\nMore.\n"})
        return found

    monkeypatch.setattr(publish, "card_there", slowly)
    with pytest.raises(HubError, match="alice/model has changed while this was being pushed"):
        model.push_to_hub("alice/model", license="apache-2.0")
    assert _there(hub, "alice/model")[0]["README.md"].endswith(b"More.\n")


def test_the_model_of_somebody_else_is_told_to_be_theirs(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    make().push_to_hub("bob/model", license="mit", token=hub.bob)
    model = vaekit.load("bob/model")
    model.push_to_hub("alice/copy", license="mit")
    card = _card(_there(hub, "alice/copy")[0]["README.md"])
    assert card.data.base_model == "bob/model"
    assert f"It comes from `{model.source}`." in card.text
    assert model.source.endswith(hub.state.repo("models", "bob", "model").resolve("main"))


def test_a_branch_is_made_where_it_is_missing(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    make().push_to_hub("alice/model", license="mit", revision="v2")
    assert set(_there(hub, "alice/model", branch="v2")[0]) == MODEL
    assert not _there(hub, "alice/model")[0]
    make().push_to_hub("alice/model@v2", license="mit", message="again")
    assert vaekit.load("alice/model@v2")
    text = _there(hub, "alice/model", branch="v2")[0]["README.md"].decode()
    assert "\n# model\n" in text
    assert text.count("alice/model@v2") == text.count("alice/model") == 3


def test_a_pull_request_changes_nothing_until_it_is_merged(
    hub: Any, make: Callable[..., vaekit.VAE], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = make(), make(likelihood="gaussian")
    first.push_to_hub("alice/model", license="mit")
    before = _there(hub, "alice/model")
    monkeypatch.setenv("HF_TOKEN", hub.bob)
    url = other.push_to_hub("alice/model", license="mit", create_pr=True, message="with variances")
    assert url == f"{hub.url}/alice/model/discussions/1"
    assert _there(hub, "alice/model") == before
    files, commits = _there(hub, "alice/model", branch="refs/pr/1")
    assert set(files) == MODEL
    assert [commit["title"] for commit in commits][:1] == ["with variances"]
    assert commits[1:] == before[1]
    assert vaekit.load("alice/model@refs/pr/1").config == other.config
    assert vaekit.load("alice/model").config == first.config
    assert not [line for line in hub.asked() if "/branch/" in line]


def test_private_stays_private(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    make().push_to_hub("alice/hidden", license="mit", private=True)
    assert hub.state.repo("models", "alice", "hidden").state["private"]
    with pytest.raises(HubError, match="alice/hidden is there already and is private, not public: change that in its settings"):
        make().push_to_hub("alice/hidden", license="mit", private=False)
    make().push_to_hub("alice/shown", license="mit")
    before = _there(hub, "alice/shown")[1]
    with pytest.raises(HubError, match="alice/shown is there already and is public, not private"):
        make(likelihood="gaussian").push_to_hub("alice/shown", license="mit", private=True)
    assert _there(hub, "alice/shown")[1] == before


def test_what_is_no_model_of_ours_is_not_replaced(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    hub.put("alice/bert", {"README.md": b"---\nlibrary_name: transformers\n---\n", "config.json": b"{}"})
    with pytest.raises(
        HubError, match="alice/bert holds a model of transformers, which this would replace: choose another name"
    ):
        make().push_to_hub("alice/bert", license="mit")


@pytest.mark.parametrize(
    ("whose", "repo", "said"),
    [
        ("reader", "alice/model", "this token may not write to alice/model: .*hf auth login"),
        ("bob", "alice/model", "this token may not write to alice/model"),
        ("stranger", "alice/model", "does not know the token: log in"),
        (None, "alice/model", "no token is here: log in with `hf auth login`, or set HF_TOKEN"),
    ],
)
def test_who_may_not_is_told_so(hub: Any, make: Any, monkeypatch: pytest.MonkeyPatch, whose: str, repo: str, said: str) -> None:
    tokens = {"reader": "hf_" + "reader" * 6, "bob": hub.bob, "stranger": "hf_" + "nobody" * 6, None: ""}
    monkeypatch.setitem(hub.state.tokens, tokens["reader"], ("alice", "read"))
    monkeypatch.setenv("HF_TOKEN", tokens[whose])
    with pytest.raises(HubError, match=said) as told:
        make().push_to_hub(repo, license="mit")
    assert "\n" not in str(told.value)
    assert not tokens[whose] or tokens[whose] not in str(told.value)
    assert not hub.state.repo("models", "alice", "model").exists
    if whose is None:
        assert not hub.asked()
        with pytest.raises(HubError, match="no token"):
            make().push_to_hub(repo, license="mit", token=False)


def test_nothing_is_published_offline(hub: Any, make: Callable[..., vaekit.VAE], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set.*unset it"):
        make().push_to_hub("alice/model", license="mit")
    assert not hub.asked()


@pytest.mark.parametrize(
    ("repo", "options", "said"),
    [
        ("model", {}, "'model' is not a repo"),
        ("../alice/model", {}, "is not a repo"),
        ("alice/model@a", {"revision": "b"}, "give one"),
        ("alice/model", {"revision": "a" * 40}, "is a commit, and a commit does not change: give a branch"),
        ("alice/model", {"message": " "}, "the message of the commit is empty"),
        ("alice/model", {"license": None}, "under which license[?] none is assumed: give its id on the Hub, such as"),
        ("alice/model", {"revision": "v2", "create_pr": True}, "a pull request is to the main branch, not to v2: leave out"),
        ("alice/model", {"license": "Apache 2.0"}, "'Apache 2.0' is not the id of a license.*such as apache-2.0"),
        ("alice/model", {"license": "mit\nx: y"}, "is not the id of a license"),
    ],
)
def test_what_cannot_be_asked_for_is_not_asked(hub: Any, make: Any, repo: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make().push_to_hub(repo, **{"license": "mit", **options})
    assert not hub.asked()


class Unknown(vaekit.Encoder):
    """A part that no plugin brings."""

    name = "nowhere"

    def __init__(self, in_shape: Any, context: int) -> None:
        super().__init__()
        self.out_shape = (torch.Size(in_shape).numel(),)

    def forward(self, x: Any, c: Any) -> Any:
        return x.flatten(1)


def test_a_model_that_would_not_load_is_refused_before_anything_is_asked(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    infinite = make()
    with torch.no_grad():
        next(infinite.parameters()).view(-1)[0] = torch.inf
    with pytest.raises(CheckpointError, match="not finite: such a model is not published"):
        infinite.push_to_hub("alice/model", license="mit")
    changed = make()
    changed.decoder = make(decoder={"hidden": [9]}).decoder
    with pytest.raises(CheckpointError, match="is not what its config says: tensor 'decoder"):
        changed.push_to_hub("alice/model", license="mit")
    tied = make(encoder={"hidden": [8, 8]}, decoder={"hidden": [8, 8]})
    one, other = (next(m for m in part.modules() if getattr(m, "in_features", 0) == 8) for part in (tied.encoder, tied.decoder))
    other.weight = one.weight
    with pytest.raises(CheckpointError, match="the weights cannot be written"):
        tied.push_to_hub("alice/model", license="mit")
    base = make()
    kinds = ("context", "latent", "prior", "decoder", "likelihood")
    by_hand = vaekit.VAE(encoder=Unknown((1, 6, 5), 0), **{kind: getattr(base, kind) for kind in kinds})
    with pytest.raises(UnknownPart, match="nowhere"):
        by_hand.push_to_hub("alice/model", license="mit")
    assert not hub.asked()


def test_a_disk_that_is_full_is_told_with_the_cure(
    hub: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource
    import tempfile

    model, before = make(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written to .*vaekit-.*; free some .* or set TMPDIR"):
            model.push_to_hub("alice/model", license="mit")
        with pytest.raises(CheckpointError, match="cannot be written"):
            model.save(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(CheckpointError, match=r"no folder can be made to write the weights to: .*set TMPDIR"):
        model.push_to_hub("alice/model", license="mit")
    assert not hub.asked()


def test_no_token_is_left_anywhere(hub: Any, run: vaekit.Run, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    caplog.set_level("DEBUG")
    model = run.model
    pushed = [publish.push(model, "alice/model", license="mit", token=hub.alice) for _ in range(2)]
    with pytest.raises(HubError) as told:
        model.push_to_hub("bob/model", license="mit")
    files, commits = _there(hub, "alice/model")
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    said = f"{pushed}{told.value}{capfd.readouterr()}{caplog.text}{json.dumps(commits)}{model.config}".encode()
    for token in (hub.alice, hub.bob):
        assert token.encode() not in said + written + b"".join(files.values())


# The run that goes with a model.


def test_numbers_pictures_and_command_are_of_these_weights_alone(hub: Any, run: vaekit.Run) -> None:
    assert _run("evaluate", str(run.path), "-k", "2", "-n", "20").exit_code == 0
    assert run.evaluation["nll_examples"] == 20
    assert "weights" not in run.evaluation
    pushed = publish.push(run.model, "alice/model", license="mit")
    assert not pushed.notes
    files, _ = _there(hub, "alice/model")
    card = _card(files["README.md"])
    assert card.data.model_name == "model"
    assert {result.metric_type for result in card.data.eval_results} == {"nelbo", "reconstruction", "kl", "nll", "bits_per_dim"}
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["nelbo"] == pytest.approx(run.evaluation["nelbo"], abs=1e-4)
    assert f"| negative ELBO | {run.evaluation['nelbo']:.2f} |" in card.text
    assert "k = 2, 20 examples" in card.text
    model = run.model
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    assert publish.push(model, "alice/other", license="mit").files == tuple(sorted(MODEL))
    assert "## Numbers" not in _there(hub, "alice/other")[0]["README.md"].decode()
    model.save(run.path / "model")
    assert run.evaluation is None


def test_what_is_of_other_weights_is_left_out_until_it_is_made_anew(hub: Any, run: vaekit.Run) -> None:
    """As where a run is stopped, resumed and killed, or where somebody puts another model into it."""
    model = run.model
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    model.save(run.path / "model")
    pushed = publish.push(vaekit.load(run.path), "alice/model", license="mit")
    assert set(pushed.files) == MODEL
    assert [part for part in ("vaekit evaluate", "vaekit figures", "train again") if part not in " ".join(pushed.notes)] == []
    text = _there(hub, "alice/model")[0]["README.md"].decode()
    assert "## Numbers" not in text
    assert "vaekit train" not in text
    assert "torch" not in text.partition("## Training")[2]
    assert _run("evaluate", str(run.path), "-k", "1", "-n", "2").exit_code == 0
    assert _run("figures", str(run.path), "--only", "samples,curves,animation").exit_code == 0
    pushed = publish.push(vaekit.load(run.path), "alice/model", license="mit")
    assert set(pushed.files) == MODEL | {"samples.png", "interpolation.gif"}
    text = _there(hub, "alice/model")[0]["README.md"].decode()
    assert f"| negative ELBO | {run.evaluation['nelbo']:.2f} |" in text
    assert "vaekit train" not in text


def test_a_model_of_other_parts_or_data_takes_nothing_of_the_run(hub: Any, run: vaekit.Run) -> None:
    config = json.loads((run.path / "model" / "config.json").read_text())
    config["data"]["name"] = "mnist"
    (run.path / "model" / "config.json").write_text(json.dumps(config))
    assert run.trained
    pushed = publish.push(vaekit.load(run.path), "alice/model", license="mit")
    assert set(pushed.files) == MODEL
    assert "the card says nothing of" in pushed.notes[0]
    text = _there(hub, "alice/model")[0]["README.md"].decode()
    assert "digits" not in text
    assert "## Numbers" not in text


def test_a_run_that_does_not_say_of_which_weights_it_is_gives_few_words(hub: Any, run: vaekit.Run) -> None:
    record = run.record
    (run.path / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k not in ("trained", "tested")}))
    for text in (None, "{", "[]", '{"samples.png": 1}', '{"samples.png": {"weights": null, "picture": null}}'):
        (run.path / "figures.json").unlink(missing_ok=True)
        if text is not None:
            (run.path / "figures.json").write_text(text)
        assert not run.pictures
    pushed = publish.push(run.model, "alice/model", license="mit")
    assert set(pushed.files) == MODEL
    assert len(pushed.notes) == 3


def test_a_picture_that_was_drawn_over_is_not_published(hub: Any, run: vaekit.Run, tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8))
    asked = ("--only", "reconstructions")
    assert _run("figures", str(run.path), f"npy:{tmp_path}/faces.npy", *asked).exit_code == 0
    assert "reconstructions.png" not in publish.push(run.model, "alice/model", license="mit").files
    assert _run("figures", str(run.path), *asked, "--output", str(tmp_path)).exit_code == 0
    assert _run("figures", str(run.path), *asked).exit_code == 0
    assert "reconstructions.png" in publish.push(run.model, "alice/model", license="mit").files


def test_a_training_that_was_stopped_is_told(hub: Any, run: vaekit.Run) -> None:
    run.note(status="interrupted")
    run.model.push_to_hub("alice/model", license="mit")
    text = _there(hub, "alice/model")[0]["README.md"].decode()
    assert re.search(r"--epochs 1 [^\n]*\n```\n\nTraining was stopped in epoch 2\.\n", text)
    run.cut(1)
    assert run.tested is None


def test_where_a_run_cannot_be_written_its_numbers_are_told_all_the_same(run: vaekit.Run) -> None:
    for name in ("evaluation.json", "figures.json"):
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).mkdir()
    result = _run("evaluate", str(run.path), "-k", "1", "-n", "2", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["examples"] == 100
    assert result.stderr.index("report ") < result.stderr.index("evaluation.json")
    assert "evaluation.json cannot be written" in result.stderr
    result = _run("figures", str(run.path), "--only", "samples")
    assert result.exit_code == 0
    assert "figures.json cannot be written" in result.stderr


def test_an_evaluation_is_of_the_weights_that_were_loaded(run: vaekit.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, which goes on, finds a better model while the last one is evaluated."""
    measure = vaekit.evaluation.evaluate

    def meanwhile(model: vaekit.VAE, *arguments: Any, **options: Any) -> Any:
        numbers = measure(model, *arguments, **options)
        with torch.no_grad():
            next(model.parameters()).add_(0.5)
        model.save(run.path / "model")
        return numbers

    monkeypatch.setattr(vaekit.evaluation, "evaluate", meanwhile)
    assert _run("evaluate", str(run.path), "-k", "1", "-n", "2").exit_code == 0
    assert (run.path / "evaluation.json").exists()
    assert run.evaluation is None


def test_an_evaluation_on_other_data_is_not_kept(run: vaekit.Run) -> None:
    assert _run("evaluate", str(run.path), "digits", "-k", "1", "-n", "2").exit_code == 0
    assert not (run.path / "evaluation.json").exists()
    for text in ("{", "[]", '{"weights": null}', '{"nelbo": 1.0}', '{"weights": "0"}'):
        (run.path / "evaluation.json").write_text(text)
        assert run.evaluation is None


def test_without_an_evaluation_there_is_what_training_measured(hub: Any, run: vaekit.Run) -> None:
    pushed = publish.push(run.model, "alice/model", license="mit")
    assert len(pushed.notes) == 1
    assert f"vaekit evaluate {run.path}" in pushed.notes[0]
    card = _card(_there(hub, "alice/model")[0]["README.md"])
    assert {result.metric_type for result in card.data.eval_results} == {"nelbo", "reconstruction", "kl"}
    assert card.data.license == "mit"


def test_pictures_of_private_data_stay_at_home(hub: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    options = {"validation": 10, "test": 10}
    run = vaekit.fit(f"npy:{tmp_path}/faces.npy", **SMALL, data_options=options, epochs=1, output=tmp_path, progress=False)
    pushed = publish.push(run.model, "alice/model", license="mit")
    assert "reconstructions.png" not in pushed.files
    assert "samples.png" in pushed.files
    assert "not published, since examples of the data can be seen there: reconstructions.png" in pushed.notes
    files, _ = _there(hub, "alice/model")
    assert str(tmp_path).encode() not in b"".join(files.values())
    text = files["README.md"].decode()
    assert "$ vaekit train npy:PATH " in text
    assert "PATH stands for where the data are." in text
    assert "datasets" not in _card(text).data.to_dict()
    assert "npy" not in text.replace("npy:PATH", "")
    found = _card(text).data.eval_results[0]
    assert (found.dataset_type, found.dataset_name) == ("other", "a data set of its author's")
    assert "Trained on 20 examples of a data set of its author's" in text


def test_the_card_of_a_refit_says_so(hub: Any, run: vaekit.Run) -> None:
    run.note(start="/home/me/run")
    publish.push(run.model, "alice/model", license="mit")
    text = _there(hub, "alice/model")[0]["README.md"].decode()
    assert "$ vaekit refit RUN " in text
    assert "RUN stands for the trained model" in text
    assert "/home/me" not in text


def test_examples_whose_terms_forbid_it_are_not_passed_on(hub: Any, run: vaekit.Run) -> None:
    for path in (run.path / "model" / "config.json", run.path / "run.json"):
        path.write_text(path.read_text().replace('"name": "digits"', '"name": "celeba"'))
    pushed = publish.push(run.model, "alice/model", license="mit")
    assert set(pushed.files) == MODEL | {"curves.png", "manifold.png", "samples.png"}
    assert "not published, since examples of the data can be seen there: reconstructions.png" in pushed.notes


def test_what_only_has_the_name_of_a_picture_is_left_out(hub: Any, run: vaekit.Run, tmp_path: Path) -> None:
    figures = run.path / "figures"
    (figures / "samples.png").write_bytes(b"PLANTED, and no picture")
    (figures / "curves.png").rename(tmp_path / "elsewhere.png")
    (figures / "curves.png").symlink_to(tmp_path / "elsewhere.png")
    assert {"samples.png", "curves.png"}.isdisjoint(publish.push(run.model, "alice/model", license="mit").files)
    assert "(samples.png)" not in _there(hub, "alice/model")[0]["README.md"].decode()


def test_the_command_trains_such_a_model_again() -> None:
    parts = {
        "encoder": {"name": "lstm", "hidden": 16},
        "context": {"name": "labels", "classes": 10},
        "latent": {"features": 3},
        "likelihood": "continuous-bernoulli",
        "loss": {"beta": 0.5},
    }
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **parts))
    training = {"epochs": 3, "lr": 0.01, "schedule": "steps", "milestones": [1, 2], "seed": 4, "device": "cuda"}
    record = {
        "source": "folder:/home/me/pictures of cats",
        "config": model.config.model_dump(mode="json"),
        "data": {"resize": [8, 8], "grey": True},
        "training": training,
    }
    words = shlex.split(command(record))
    assert words[:3] == ["vaekit", "train", "folder:PATH"]
    assert "/home/me" not in command(record)
    assert "cuda" not in command(record)
    split = next(i for i, word in enumerate(words) if word.startswith("--"))
    asked = overrides.parse(words[2:split])
    assert vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **asked.parts))[0].config == model.config
    assert asked.data == record["data"]
    assert words[split:] == shlex.split("--epochs 3 --lr 0.01 --schedule steps --milestones 1,2 --seed 4")


def test_the_command_of_a_refit_names_what_it_began_with() -> None:
    parts = {
        "prior": {"name": "mixture", "components": 7},
        "loss": {"name": "prior-nll", "samples": 2},
        "latent": {"features": 3},
    }
    config = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **parts))[0].config.model_dump(mode="json")
    record = {"source": "digits", "start": "/home/me/run", "config": config, "data": {}, "training": {"epochs": 3}}
    assert command(record) == "vaekit refit RUN prior=mixture prior.components=7 loss.samples=2 --epochs 3"


@pytest.mark.parametrize("source", [None, "", "../x", "a b", "$(rm)", "`x`:y", 7, ["x"]])
def test_data_without_a_name_give_no_command(source: Any) -> None:
    config = vaekit.build(vaekit.Config(data_shape=(5,), likelihood="gaussian"))[0].config
    assert command({"source": source, "config": config.model_dump(mode="json"), "data": {}, "training": {}}) == (
        "vaekit train 7 likelihood=gaussian" if source == 7 else ""
    )


@pytest.mark.parametrize("broken", [{"config": 1}, {"config": {}}, {"data": {"x": 1}}, {"training": [1]}])
def test_a_record_that_is_no_good_gives_no_command(broken: dict[str, Any]) -> None:
    config = vaekit.build(vaekit.Config(data_shape=(5,), likelihood="gaussian"))[0].config.model_dump(mode="json")
    assert command({"source": "digits", "config": config, "data": {}, "training": {}, **broken}) == ""


# The card.


def _about(model: vaekit.VAE, **known: Any) -> str:
    return hub_card(model, model.config, About("alice/my_model", "mit", **known))


def _cells(text: str) -> list[list[str]]:
    """The cells of every row of every table, as Markdown parts them."""
    import re

    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    ("shape", "parts", "data", "tags", "task"),
    [
        ((1, 6, 5), {}, "mnist", {"vae", "mlp", "gaussian", "normal", "bernoulli", "elbo"}, True),
        (
            (3, 8, 8),
            {"context": {"name": "labels", "classes": 4}, "likelihood": "gaussian"},
            "svhn",
            {"conditional", "labels"},
            False,
        ),
        ((1, 6, 5), {}, "idx", {"vae"}, True),
        ((1, 6, 5), {}, "sprites", {"vae"}, True),
        ((7, 3), {"encoder": "lstm", "likelihood": "gaussian"}, "npz", {"lstm"}, False),
        ((5,), {"likelihood": "laplace"}, None, {"laplace"}, False),
        ((4, 6, 5), {"likelihood": "gaussian"}, "npy", set(), False),
    ],
)
def test_the_card_says_what_the_model_is(
    shape: Any, parts: Any, data: str | None, tags: set[str], task: bool, make: Any
) -> None:
    info = DataInfo(name=data, examples=1234) if data else None
    model = make(shape, **{**parts, **({"encoder": parts["encoder"]} if "encoder" in parts else {})}, data=info)
    numbers = {"nelbo": 12.345678, "nll": -3.0, "nll_standard_error": None, "k": 10, "nll_examples": 5, "examples": 5}
    card = _card(_about(model, numbers=numbers))
    assert card.data.library_name == "vaekit"
    assert tags <= set(card.data.tags)
    assert ("conditional" in card.data.tags) == model.conditional
    assert card.data.pipeline_tag == ("unconditional-image-generation" if task else None)
    assert {result.task_type for result in card.data.eval_results} == {card.data.pipeline_tag or "other"}
    named = data in ("mnist", "svhn", "sprites")
    assert {result.dataset_name for result in card.data.eval_results} == {data if named else "a data set of its author's"}
    assert card.data.eval_results[0].dataset_type == (card.data.datasets or [data if named else "other"])[0]
    assert named or data is None or f"of {data}" not in card.text + folder_card(model, model.config)
    assert card.data.datasets == {"mnist": ["ylecun/mnist"], "svhn": ["ufldl-stanford/svhn"]}.get(data)
    assert card.data.metrics == ["nelbo", "nll"]
    assert [result.metric_value for result in card.data.eval_results] == [12.3457, -3.0]
    assert [result.metric_args for result in card.data.eval_results] == [None, {"k": 10, "examples": 5}]
    assert 'vaekit.load("alice/my_model")' in card.text
    assert ("y=0" in card.text) == model.conditional
    assert ("vaekit sample" in card.text) == (shape in [(1, 6, 5), (3, 8, 8), (7, 3)])
    assert all(len(row) in (3, 4) for row in _cells(card.text))
    for line in [line for line in card.text.splitlines() if line.startswith("$ vaekit ")]:
        _, _, name, *arguments = shlex.split(line)
        assert get_command(app).commands[name].make_context(name, arguments)


def test_parts_of_others_are_named_and_never_installed(make: Callable[..., vaekit.VAE]) -> None:
    model = make(encoder="lstm", loss="iwae")
    model.config = model.config.model_copy(update={"plugins": {**model.config.plugins, "vaekit-evil`; rm": "1|0"}})
    text = _about(model)
    assert '$ pip install "vaekit[lstm]"' in text
    assert "Other parts come from vaekit-evil&#96;; rm 1&#124;0, not of the vaekit project" in text
    assert [line for line in text.splitlines() if "pip " in line] == ['$ pip install "vaekit[lstm]"']


def test_hostile_names_are_text_and_nothing_else(make: Callable[..., vaekit.VAE]) -> None:
    known = DataInfo(name="folder", classes=HOSTILE, examples=3)
    model = make(context={"name": "labels", "classes": len(HOSTILE)}, data=known)
    remark = "\n---\n# own\n| a | b |\n<script>alert(1)</script> ![x](http://evil)"
    numbers = {"nelbo": 1.0, "kl": "| x |", "nll": float("nan"), "k": True, "examples": 1e300}
    card = _card(_about(model, numbers=numbers, remark=remark, versions={"python\n": "<b>|"}))
    assert card.data.tags == ["vae", "labels", "mlp", "gaussian", "normal", "bernoulli", "elbo", "conditional"]
    for text in (card.text, folder_card(model, model.config)):
        assert not [sign for sign in ("<", "![", "`rm`", "](", "*b*", "$x", "@all") if sign in text]
    assert [line for line in card.text.splitlines() if line.startswith("#")] == [
        *("# my&#95;model", "## Use", "## Architecture", "## Training", "## Numbers", "## Intended use and limits"),
    ]
    assert [cells[0].strip() for cells in _cells(card.text)][-1] == "negative ELBO"


def test_an_option_cannot_break_the_table(make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    for value in ("a|b", "`|`", "\\", "a\n| x | y |", "\\|", "<b>"):
        model.config = model.config.model_copy(update={"encoder": {"name": "mlp", "text": value}})
        assert all(len(row) in (3, 4) for row in _cells(_about(model)))


def test_plain_leaves_words_alone() -> None:
    assert plain("T-shirt/top, 1.5 (é)") == "T-shirt/top, 1.5 (é)"
    assert plain("a\nb") == "a b"


def test_the_card_of_a_folder_asks_nothing_of_the_client(python: Callable[..., str]) -> None:
    code = (
        "import sys, vaekit; vaekit.build(vaekit.Config(data_shape=(1, 4, 4)))[0].save('m'); vaekit.load('m');"
        "print('huggingface_hub' in sys.modules, 'library_name: vaekit' in open('m/README.md').read())"
    )
    assert python(code) == "False True"


# The command, and the Space.


def test_push_on_the_command_line(hub: Any, run: vaekit.Run) -> None:
    asked = ("--license", "mit", "--json", "--private", "--message", "hello", "--revision", "v1")
    result = _run("push", str(run.path), "alice/model", *asked)
    told = json.loads(result.stdout)
    assert told["repo"] == "alice/model"
    assert told["url"].endswith(told["commit"])
    assert "README.md" in told["files"]
    assert told["notes"] == [line.removeprefix("note: ") for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert hub.state.repo("models", "alice", "model").state["private"]
    assert _there(hub, "alice/model", branch="v1")[1][0]["title"] == "hello"
    result = _run("push", str(run.path / "model"), "alice/model2", "--license", "mit")
    assert f"{hub.url}/alice/model2/commit/" in result.stdout
    assert "vaekit info alice/model2\n" in result.stdout
    assert "space" not in told
    with pytest.raises(ConfigError, match="leave out --space or --create-pr"):
        _run("push", str(run.path), "alice/model", "--space", "--create-pr")
    with pytest.raises(ConfigError, match="under which license"):
        _run("push", str(run.path), "alice/model3")
    result = _run("push", str(run.path), "alice/model2", "--license", "apache-2.0", "--create-pr")
    assert f"{hub.url}/alice/model2/discussions/1" in result.stdout
    assert "look at the pull request" in result.stdout
    assert "vaekit info" not in result.stdout
    result = _run("push", str(run.path), "alice/model2", "--license", "mit", "--revision", "dev")
    assert "vaekit info alice/model2@dev\n" in result.stdout


def test_no_command_takes_a_token() -> None:
    assert "token" not in _run("push", "--help").stdout.replace("HF_TOKEN", "")


def test_a_space_loads_the_model_at_its_commit(hub: Any, run: vaekit.Run) -> None:
    told = json.loads(_run("push", str(run.path), "alice/model", "--space", "--license", "mit", "--json").stdout)
    assert told["space"] == f"{hub.url}/spaces/alice/model"
    files, commits = _there(hub, "alice/model", "spaces")
    assert set(files) == {"README.md", "app.py", "requirements.txt"}
    assert len(commits) == 2
    front = _card(files["README.md"]).data.to_dict()
    assert front["sdk"] == "gradio"
    assert front["app_file"] == "app.py"
    assert front["license"] == "mit"
    assert front["models"] == ["alice/model"]
    assert front["preload_from_hub"] == [f"alice/model config.json,model.safetensors {told['commit']}"]
    lines = files["requirements.txt"].decode().splitlines()
    assert f"vaekit=={vaekit.__version__}" in lines
    assert f"gradio=={front['sdk_version']}" in lines
    assert all("==" in line for line in lines[1:])
    assert f"vaekit-demo=={version('vaekit-demo')}" in lines
    code = files["app.py"].decode()
    assert f'vaekit_demo.launch(["alice/model@{told["commit"]}"])' in code
    linted = [sys.executable, "-m", "ruff", "check", "--config", str(Path(__file__).parents[1] / "pyproject.toml"), "-"]
    assert subprocess.run(linted, input=files["app.py"], check=False, capture_output=True).returncode == 0


def test_the_page_of_a_space_launches_the_demo_of_the_model(
    hub: Any, make: Callable[..., vaekit.VAE], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it launches is a reference by which the model can be loaded; its pages ask nothing more of the Hub."""
    from vaekit_demo import about, launching

    model = make(context={"name": "labels", "classes": 3}, likelihood="gaussian")
    pushed = publish.push(model, "alice/model", license="mit")
    space.push("alice/model", pushed.commit, model.config)
    launched: list[str] = []
    monkeypatch.setitem(sys.modules, "vaekit_demo", SimpleNamespace(launch=launched.extend))
    exec(compile(_there(hub, "alice/model", "spaces")[0]["app.py"], "app.py", "exec"), {"__name__": "__main__"})
    (shown,) = launching._shown(launched, None)
    assert (shown.title, shown.origin.load) == ("alice/model", f"alice/model@{pushed.commit}")
    asked = len(hub.state.log)
    assert shown.survey.numbers is None
    assert "not on this server" in shown.why
    assert f"alice/model@{pushed.commit}" in about.loading(shown) + about.metrics(shown)
    assert len(hub.state.log) == asked
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert launching._shown(launched, None)[0].origin.load == shown.origin.load


def test_a_space_of_a_model_that_is_there_pushes_no_model(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    make(encoder="lstm", loss="iwae").push_to_hub("alice/model", license="mit")
    before = _there(hub, "alice/model")[1]
    told = json.loads(_run("push", "alice/model", "alice/model", "--space", "--json").stdout)
    assert told["files"] == []
    assert _there(hub, "alice/model")[1] == before
    files, _ = _there(hub, "alice/model", "spaces")
    assert told["commit"] in files["app.py"].decode()
    assert "license" not in _card(files["README.md"]).data.to_dict()
    assert "vaekit-lstm==" in files["requirements.txt"].decode()
    assert "vaekit-losses" not in files["requirements.txt"].decode()
    for asked in (("alice/model", "--revision", "dev"), ("alice/model@dev",)):
        with pytest.raises(ConfigError, match="only its Space is pushed: leave out the revision dev"):
            _run("push", "alice/model", *asked, "--space")
    assert _run("push", "alice/model", "alice/model", "--space", "--license", "mit", "--message", "hello").exit_code == 0
    assert _there(hub, "alice/model", "spaces")[1][0]["title"] == "hello"


def test_the_space_of_a_private_model_is_private_and_says_what_it_needs(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    publish.push(model, "alice/model", license="mit", private=True)
    assert "secret HF_TOKEN" in _run("push", "alice/model", "alice/model", "--space").stderr
    assert hub.state.repo("spaces", "alice", "model").state["private"]
    assert "preload_from_hub" not in _there(hub, "alice/model", "spaces")[0]["README.md"].decode()
    pushed = publish.push(model, "alice/other", license="mit", private=True)
    hub.put("alice/other", {"README.md": b"---\nsdk: gradio\n---\n"}, kind="spaces")
    before = _there(hub, "alice/other", "spaces")
    with pytest.raises(HubError, match="the Space alice/other is there already and is public, not private: change that in"):
        space.push("alice/other", pushed.commit, model.config)
    assert _there(hub, "alice/other", "spaces") == before
    space.push("alice/other", pushed.commit, model.config, private=False)
    assert not hub.state.repo("spaces", "alice", "other").state["private"]


def test_a_space_loads_nothing_but_the_model_beforehand(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    model.push_to_hub("alice/model", license="mit")
    names = ("model.pkl", "model_old.safetensors", "model,x.safetensors", "model.safetensors.bak", "xmodel.safetensors")
    commit = hub.put("alice/model", {**_there(hub, "alice/model")[0], **dict.fromkeys(names, b"x")})
    space.push("alice/model", commit, model.config)
    front = _card(_there(hub, "alice/model", "spaces")[0]["README.md"]).data.to_dict()
    assert front["preload_from_hub"] == [f"alice/model config.json,model.safetensors {commit}"]


def test_parts_of_others_are_no_requirement_of_a_space() -> None:
    lines = space._requirements(["vaekit"], ["vaekit-rings 0.1.0"]).splitlines()
    assert lines[-1].startswith("# vaekit-rings 0.1.0: not of vaekit")
    assert lines[0] == f"torch=={torch.__version__.partition('+')[0]}"
    assert not any("://" in line or line.startswith("-") for line in lines), "versions only, no addresses"


def test_the_page_of_somebody_is_not_replaced(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    pushed = publish.push(model, "alice/model", license="mit")
    space.push("alice/model", pushed.commit, model.config)
    space.push("alice/model", pushed.commit, model.config, message="again")
    theirs = {"README.md": b"---\nsdk: gradio\n---\n", "app.py": b"print('theirs')\n"}
    hub.put("alice/other", theirs, kind="spaces")
    publish.push(model, "alice/other", license="mit")
    with pytest.raises(HubError, match=r"the Space alice/other holds another page.*; the model itself is published: "):
        _run("push", "alice/model", "alice/other", "--license", "mit", "--space")
    assert _there(hub, "alice/other", "spaces")[0] == theirs


def test_a_space_that_must_be_paid_for_says_so(hub: Any, make: Callable[..., vaekit.VAE]) -> None:
    model = make()
    pushed = publish.push(model, "alice/model", license="mit")
    hub.fault("status", "repos/create", status=402, message="Payment Required")
    with pytest.raises(HubError, match="the Hub wants a paid plan for the space alice/model"):
        space.push("alice/model", pushed.commit, model.config)
    with pytest.raises(HubError, match="alice/nothing"):
        space.push("alice/nothing", pushed.commit, model.config)

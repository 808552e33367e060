"""To the Hub: a model as one commit of a list of files that is made here; nothing else of a folder goes along."""

import json
import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vaekit import io
from vaekit.config import Config
from vaekit.errors import CheckpointError, ConfigError, VaekitError, short
from vaekit.files import CARD, CONFIG, INDEX, WEIGHTS
from vaekit.hub import is_id, split
from vaekit.hubcard import OF_DATA, PICTURES, PUBLIC, About, hub_card
from vaekit.model import VAE
from vaekit.repeating import command
from vaekit.runs import Run, digest
from vaekit.upload import LICENSES, OF_WEIGHTS, card_there, put
from vaekit.wiring import build_model, describe

MOST_BYTES = 5_000_000_000
"""Of tensors in one file."""


@dataclass(frozen=True)
class Pushed:
    """What was published.

    Args:
        repo: where.
        url: of the commit, or of the pull request.
        commit: its hash.
        files: of the model, as they are there now.
        notes: what there is to know of it.
    """

    repo: str
    url: str
    commit: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


def push(
    model: VAE,
    repo: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
    most_bytes: int = MOST_BYTES,
) -> Pushed:
    """Publish a model: config.json, model.safetensors, README.md, and of the run that it is from some pictures.

    Figures, numbers and the training command are those of the run that the model was loaded from, as far as the run says that
    they are of these weights. Where there are none, and the repo holds the very same model, its card is kept, and only the
    license of it changes. Files of an earlier push that no longer belong are deleted in the same commit, those of others stay.

    Args:
        model: to publish.
        repo: `user/name`; it is made where it is missing.
        private: whether only its owner may see it; as the account has it by default.
        revision: the branch, made where it is missing; main by default.
        message: of the commit.
        license: its id on the Hub, such as `apache-2.0`; none is assumed, so one has to be given.
        create_pr: whether to propose the commit in a pull request.
        token: that may write; the one of HF_TOKEN or `hf auth login` by default.
        most_bytes: of tensors in one file; larger models are parted.

    Raises:
        ConfigError, CheckpointError, UnknownPart: where the model cannot be published, before anything is asked of the Hub.
        HubError: where the Hub does not take it.
    """
    repo, revision = split(repo, revision)
    if license is None:
        raise ConfigError(f"under which license? none is assumed: give its id on the Hub, such as apache-2.0 ({LICENSES})")
    _check_arguments(revision, message, license, create_pr)
    with _scratch() as scratch:
        prepared = _prepare(model, About(repo, license, revision, _origin(model, repo)), Path(scratch), most_bytes)
        if not (prepared.about.numbers or prepared.about.pictures):
            prepared = _kept(prepared, card_there(repo, prepared.files, revision=revision, token=token))
        pictures = any(name in PICTURES for name in prepared.files)
        done = put(
            repo,
            prepared.files,
            lambda name: OF_WEIGHTS.fullmatch(name) is not None or (pictures and name in PICTURES),
            private=private,
            revision=revision,
            message=message or f"A model, pushed by vaekit {version('vaekit')}",
            create_pr=create_pr,
            parent=prepared.parent,
            token=token,
        )
    url = str(done.pr_url if create_pr and done.pr_url else done.commit_url)
    return Pushed(repo, url, str(done.oid), tuple(sorted(prepared.files)), prepared.notes)


@dataclass(frozen=True)
class _Prepared:
    """What to publish.

    Args:
        files: each on disk or in memory.
        about: the model.
        notes: for whoever publishes it.
        parent: the commit whose card is kept.
    """

    files: dict[str, Path | bytes]
    about: About
    notes: tuple[str, ...]
    parent: str | None = None


def loaded_from(model: VAE) -> tuple[str, str] | None:
    """The repo and the commit that a model was loaded from; None where it was not from the Hub."""
    repo, _, commit = (model.source or "").partition("@")
    return (repo, commit) if commit and is_id(f"{repo}@{commit}") and not Path(f"{repo}@{commit}").exists() else None


def _origin(model: VAE, repo: str) -> str:
    """The repo and commit that the model was loaded from, where it is another repo than the one it goes to."""
    found = loaded_from(model)
    return "@".join(found) if found and found[0] != repo else ""


def _scratch() -> "TemporaryDirectory[str]":
    try:
        return TemporaryDirectory(prefix="vaekit-")
    except OSError as error:
        raise CheckpointError(f"no folder can be made to write the weights to: {short(error, 200)}; {_ELSEWHERE}") from None


_ELSEWHERE = "free some of the disk, or set TMPDIR to a folder on another"


def _prepare(model: VAE, about: About, scratch: Path, most_bytes: int) -> _Prepared:
    dtype = str(next(iter(model.parameters()), model.context.empty).dtype).removeprefix("torch.")
    config = (model.config or describe(model)).model_copy(update={"dtype": dtype})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _check_model(tensors, config)
    files: dict[str, Path | bytes] = {CONFIG: config.to_json().encode()}
    files |= _weights(tensors, scratch, most_bytes)
    found = io.run_of(model.source) if model.source and Path(model.source).is_dir() else None
    notes: list[str] = []
    if found and _is_of(Run(found), config, scratch / WEIGHTS):
        pictures, notes = _pictures(Run(found), config)
        about, more = _told(about, Run(found), tuple(pictures))
        files |= pictures
        notes += more
    elif found:
        notes = [f"the card says nothing of {found}: the model is not what that was trained to, or has changed since"]
    files[CARD] = hub_card(model, config, about).encode()
    return _Prepared(files, about, tuple(notes))


def _weights(tensors: dict[str, Tensor], scratch: Path, most_bytes: int) -> dict[str, Path | bytes]:
    """The weights as files, with an index where there is more than one."""
    from huggingface_hub import split_torch_state_dict_into_shards

    parts = split_torch_state_dict_into_shards(tensors, max_shard_size=most_bytes)
    named = parts.filename_to_tensors or {WEIGHTS: []}
    try:
        for name, keys in named.items():
            save_file({key: tensors[key] for key in keys}, scratch / name, {"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the weights cannot be written to {scratch}: {short(error, 200)}; {_ELSEWHERE}") from None
    except RuntimeError as error:
        raise CheckpointError(f"the weights cannot be written: {short(error, 200)}") from None
    files: dict[str, Path | bytes] = {name: scratch / name for name in named}
    if len(named) > 1:
        index = {"metadata": parts.metadata, "weight_map": parts.tensor_to_filename}
        files[INDEX] = json.dumps(index, indent=2, sort_keys=True).encode()
    return files


def _is_of(run: Run, config: Config, weights: Path) -> bool:
    """Whether a model is the one in the run, and of the parts and the data that the run is of."""
    try:
        trained = Config.from_json(json.dumps(run.record["config"]))
    except VaekitError:
        return False
    same = trained.model_copy(update={"plugins": config.plugins}) == config
    return same and run.weights is not None and digest(weights) == run.weights


def _pictures(run: Run, config: Config) -> tuple[dict[str, Path | bytes], list[str]]:
    """Those of its figures that a card shows, and what there is to know of the others; no file that only has such a name."""
    found: dict[str, Path | bytes] = {}
    for name in PICTURES:
        path = run.path / "figures" / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST_OF_A_PICTURE:
            content = path.read_bytes()
            if content.startswith((b"\x89PNG\r\n\x1a\n", b"GIF89a")):
                found[name] = content
    drawn = {path.name for path in run.pictures}
    private = set(OF_DATA) if config.data is None or config.data.name not in PUBLIC else set()
    of_training = {"curves.png"} if not run.trained else set()
    notes = []
    if kept := [name for name in found if name in private]:
        notes.append(f"not published, since examples of the data can be seen there: {', '.join(kept)}")
    if others := [name for name in found if name not in drawn | private | of_training]:
        said = f"not published, since nothing says that they are of these weights: {', '.join(others)}"
        notes.append(f"{said}; vaekit figures {run.path}, then push again, for those")
    return {name: content for name, content in found.items() if name in drawn - private - of_training}, notes


_MOST_OF_A_PICTURE = 20_000_000


def _told(about: About, run: Run, pictures: tuple[str, ...]) -> tuple[About, list[str]]:
    """What the run says of its model, and what it does not."""
    record, trained, evaluation = run.record, run.trained, run.evaluation
    numbers = evaluation or run.tested or {}
    epochs = [row["epoch"] for row in run.metrics if row["split"] == "validation"]
    versions = record.get("versions")
    known = versions if trained and isinstance(versions, dict) else {}
    notes = []
    if not evaluation:
        what = ("few numbers", "all of them") if numbers else ("no numbers", "them")
        notes.append(f"the card has {what[0]}: vaekit evaluate {run.path}, then push again, for {what[1]}")
    if not trained:
        why = f"nothing says that these weights are from the training of {run.path}"
        notes.append(f"the card has no training command: {why}; resume it where it was cut off, or train again")
    told = replace(
        about,
        numbers=numbers,
        command=command(record) if trained else "",
        stopped=max(epochs, default=0) + 1 if trained and run.status != "done" else None,
        remark=str(record.get("remark") or ""),
        pictures=pictures,
        versions={name: str(known[name]) for name in ("python", "torch") if name in known},
    )
    return told, notes


def _kept(prepared: _Prepared, there: tuple[str, bytes] | None) -> _Prepared:
    """The same with the card of that commit, but for its license; where that is named in one line."""
    commit, card = there or ("", b"")
    license = prepared.about.license
    kept, found = re.subn(_LICENSE, lambda line: line[1] + license.encode(), card, count=1)
    if not found:
        return prepared
    note = f"the very same model is there already: its card is kept, with the license {license}"
    return replace(prepared, files={**prepared.files, CARD: kept}, notes=(*prepared.notes, note), parent=commit)


_LICENSE = rb"(\A---\r?\n(?:(?!---)[^\n]*\n)*?license: )[^\r\n]+"


def _check_arguments(revision: str | None, message: str | None, license: str, create_pr: bool) -> None:
    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        raise ConfigError(f"{revision} is a commit, and a commit does not change: give a branch")
    if create_pr and revision not in (None, "main"):
        raise ConfigError(f"a pull request is to the main branch, not to {revision}: leave out the revision or create_pr")
    if message is not None and not message.strip():
        raise ConfigError("the message of the commit is empty: say what is new, or leave it out")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", license):
        raise ConfigError(f"{short(license)!r} is not the id of a license on the Hub: give one such as apache-2.0 ({LICENSES})")


def _check_model(tensors: dict[str, Tensor], config: Config) -> None:
    """Whether loading will find what the config says, with values that are finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"tensor {name!r} holds values that are not finite: such a model is not published")
    with torch.device("meta"):
        expected = build_model(config).state_dict()
    for name in sorted({*tensors, *expected}):
        there, wanted = tensors.get(name), expected.get(name)
        if there is None or wanted is None or (there.shape, there.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(f"the model is not what its config says: tensor {name!r} differs; build it with vaekit.build")

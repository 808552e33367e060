"""To the Hub: a model as one commit of a list of files that is made here; nothing else of a folder goes along."""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import Tensor

from vaekit import io
from vaekit.config import Config
from vaekit.errors import CheckpointError, ConfigError, short
from vaekit.files import CARD, CONFIG, INDEX, WEIGHTS
from vaekit.hub import split
from vaekit.hubcard import OF_DATA, PICTURES, PUBLIC, About, hub_card
from vaekit.model import VAE
from vaekit.repeating import command
from vaekit.runs import Run
from vaekit.upload import LICENSES, put
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

    Figures, numbers and the training command are those of the run that the model was loaded from, where its weights are still
    the same. Files of an earlier push that no longer belong are deleted in the same commit, those of others stay.

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
    with TemporaryDirectory(prefix="vaekit-") as scratch:
        prepared = _prepare(model, repo, license, Path(scratch), most_bytes)
        done = put(
            repo,
            prepared.files,
            lambda name: re.fullmatch(_OF_WEIGHTS, name) is not None or name in PICTURES,
            private=private,
            revision=revision,
            message=message or f"A model, pushed by vaekit {version('vaekit')}",
            create_pr=create_pr,
            token=token,
        )
    url = str(done.pr_url if create_pr and done.pr_url else done.commit_url)
    return Pushed(repo, url, str(done.oid), tuple(sorted(prepared.files)), prepared.notes)


@dataclass(frozen=True)
class _Prepared:
    """What to publish: files, each on disk or in memory, and what to tell whoever publishes it."""

    files: dict[str, Path | bytes]
    notes: tuple[str, ...]


def _prepare(model: VAE, repo: str, license: str, scratch: Path, most_bytes: int) -> _Prepared:
    dtype = str(next(iter(model.parameters()), model.context.empty).dtype).removeprefix("torch.")
    config = (model.config or describe(model)).model_copy(update={"dtype": dtype})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _check_model(tensors, config)
    files: dict[str, Path | bytes] = {CONFIG: config.to_json().encode()}
    files |= _weights(tensors, scratch, most_bytes)
    run = _run_of(model, scratch / WEIGHTS)
    notes = []
    about = About(repo, license)
    if run:
        pictures = _pictures(run)
        kept = [name for name in pictures if name in OF_DATA and not (config.data and config.data.name in PUBLIC)]
        if kept:
            notes.append(f"not published, since examples of your data can be seen there: {', '.join(kept)}")
        if not run.evaluation:
            notes.append(f"the card has few numbers: vaekit evaluate {run.path}, then push again, for all of them")
        pictures = {name: content for name, content in pictures.items() if name not in kept}
        files |= pictures
        about = _about(repo, license, run, tuple(pictures))
    files[CARD] = hub_card(model, config, about).encode()
    return _Prepared(files, tuple(notes))


def _weights(tensors: dict[str, Tensor], scratch: Path, most_bytes: int) -> dict[str, Path | bytes]:
    """The weights as files, with an index where there is more than one."""
    from huggingface_hub import split_torch_state_dict_into_shards

    parts = split_torch_state_dict_into_shards(tensors, max_shard_size=most_bytes)
    named = parts.filename_to_tensors or {WEIGHTS: []}
    try:
        for name, keys in named.items():
            save_file({key: tensors[key] for key in keys}, scratch / name, {"format": "pt"})
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"the weights cannot be written: {short(error, 200)}") from None
    files: dict[str, Path | bytes] = {name: scratch / name for name in named}
    if len(named) > 1:
        index = {"metadata": parts.metadata, "weight_map": parts.tensor_to_filename}
        files[INDEX] = json.dumps(index, indent=2, sort_keys=True).encode()
    return files


_OF_WEIGHTS = r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?"


def _run_of(model: VAE, weights: Path) -> Run | None:
    """The run that the model was loaded from, where its weights are those of the run."""
    found = io.run_of(model.source) if model.source and Path(model.source).is_dir() else None
    if found is None or not weights.is_file():
        return None
    run = Run(found)
    with weights.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == run.weights
    return run if same else None


def _pictures(run: Run) -> dict[str, Path | bytes]:
    """Those of its figures that a card shows; what only has the name of one is left out."""
    found: dict[str, Path | bytes] = {}
    for name in PICTURES:
        path = run.path / "figures" / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST_OF_A_PICTURE:
            content = path.read_bytes()
            if content.startswith((b"\x89PNG\r\n\x1a\n", b"GIF89a")):
                found[name] = content
    return found


_MOST_OF_A_PICTURE = 20_000_000


def _about(repo: str, license: str, run: Run, pictures: tuple[str, ...]) -> About:
    record = run.record
    tested = [row for row in run.metrics if row["split"] == "test"][-1:]
    versions = record.get("versions")
    known = versions if isinstance(versions, dict) else {}
    return About(
        repo,
        license,
        numbers=run.evaluation or (tested[0] if tested else {}),
        command=command(record),
        remark=str(record.get("remark") or ""),
        pictures=pictures,
        versions={name: str(known[name]) for name in ("python", "torch") if name in known},
    )


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

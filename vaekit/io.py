"""A model as a folder of three files: config.json, model.safetensors and README.md; data only, nothing that runs.

Loading trusts nothing: sizes are capped, JSON is strict, the config is checked against the registry, a model on the meta
device says what tensors there must be, and only then are weights fetched and memory taken.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vaekit import hub, strictjson, weights
from vaekit.blocks import find_device
from vaekit.card import card
from vaekit.config import DEFAULTS, Config
from vaekit.errors import CheckpointError, ConfigError, HubError, UnknownPart, VaekitError, short
from vaekit.files import CARD, CONFIG, INDEX, WEIGHTS, File, Files, Folder, flush, likeness
from vaekit.known import EXTRAS
from vaekit.model import VAE
from vaekit.registry import find
from vaekit.snapshot import Snapshot, reported
from vaekit.wiring import build_model, describe

MOST_WEIGHTS = 20_000_000_000


def load(
    repo_or_path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    max_bytes: int = MOST_WEIGHTS,
) -> VAE:
    """A model from a model folder, a run or the Hugging Face Hub.

    A `Path`, a string that begins with a path separator, `./`, `../` or `~`, and the name of a folder that exists are local;
    any other string of the form `user/model` or `user/model@revision` is on the Hub. Nothing that runs is ever read.

    Args:
        repo_or_path: the folder, or the repo.
        revision: a branch, a tag or a commit of the repo; its main branch where there is none.
        token: for the Hub; True for the one that `hf auth login` saved, which is also used where nothing is said, False for
            none.
        cache_dir: where downloads are kept; the Hub client's own folder where there is none.
        local_files_only: whether to take what is in the cache, and ask nobody.
        force_download: whether to fetch again what is in the cache.
        device: to put the model on; `auto` for a GPU where there is one.
        dtype: to convert it to; as it was saved where there is none.
        max_bytes: of memory that the config may ask for.

    Returns:
        The model, in evaluation mode; `source` says which folder, or which repo and commit, it is from.

    Raises:
        HubError: where the Hub has it not, refuses it, or cannot be reached.
        CheckpointError: where the folder or its weights cannot be trusted, naming the part.
        ConfigError, UnknownPart, ShapeError: where its config does not make a model here.
    """
    files = find_files(
        repo_or_path,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        force_download=force_download,
    )
    return _load(files, device, dtype, max_bytes)[0]


def pull(
    repo: str,
    folder: str | Path | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    max_bytes: int = MOST_WEIGHTS,
    note: Callable[[str], object] = warnings.warn,
) -> Path:
    """Write a model of the Hub as a model folder, once all of it has been checked as `load` does.

    Args:
        repo: `user/model` or `user/model@revision`.
        folder: to write; named as the model where there is none. One that holds only a model of vaekit is replaced, unless
            it is of a run.
        revision: a branch, a tag or a commit.
        token: for the Hub.
        max_bytes: of memory that the config may ask for.
        note: is told of a card that cannot be had; the model is written without it.

    Returns:
        The folder.

    Raises:
        ConfigError: where the folder holds something else than a model of vaekit.
        VaekitError: as for `load`.
    """
    name, revision = hub.split(repo, revision)
    target = _spelt(folder or name.partition("/")[2])
    _check_replaceable(target)
    snapshot = Snapshot(name, revision, token=token)
    _, used = _load(snapshot, "cpu", None, max_bytes)
    if snapshot.first_of(CARD):
        try:
            used[CARD] = snapshot.get(CARD, 0, strictjson.MOST_BYTES)
        except CheckpointError as error:
            note(f"the card is left out: {error}")
    partial, former = (target.with_name(f".{target.name}.{what}-{os.getpid()}") for what in ("new", "old"))
    try:
        partial.mkdir(parents=True)
        for inside, file in used.items():
            shutil.copyfile(file.path, partial / inside)
        if os.path.lexists(target):
            target.replace(former)
            _check_replaceable(former, target)
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        if former.exists() and not target.exists():
            former.replace(target)
        shutil.rmtree(partial, ignore_errors=True)
    if former.exists():
        _remove_model(former)
    return target


@dataclass(frozen=True)
class Overview:
    """A model without its weights.

    Args:
        config: of the model.
        source: the folder, or the repo and the commit.
        parameters: by kind; none where parts are missing.
        bytes: of all weights; 0 where parts are missing.
        missing: what each missing part needs, by kind.
        lacking: why no weights can be read of it; empty where they are there, or where that is not known.
        installed: the version of each package that the config names; none where it is not installed.
        reported: what the card on the Hub reports of it: the data set, the metric and the value.
    """

    config: Config
    source: str
    parameters: dict[str, int]
    bytes: int
    missing: dict[str, str]
    lacking: str
    installed: dict[str, str | None]
    reported: list[tuple[str, str, float]]


def look(repo_or_path: str | Path, *, revision: str | None = None, token: str | bool | None = None) -> Overview:
    """What a model is, without its weights, and whether the parts it is made of are installed.

    Raises:
        VaekitError: as for `load`; not where a part is missing.
    """
    files = find_files(repo_or_path, revision=revision, token=token)
    config = _config(files)
    missing = {}
    for kind in DEFAULTS:
        try:
            find(kind, str(config.part(kind)["name"]))
        except VaekitError as error:
            missing[kind] = str(error)
    parameters: dict[str, int] = {}
    size = 0
    if missing.keys() <= {"loss"}:
        model, expected = _expected(config, files)
        parameters = {kind: sum(p.numel() for p in getattr(model, kind).parameters()) for kind in DEFAULTS if kind != "loss"}
        size = weights.size_of(expected.values())
    installed = {package: _installed(package) for package in config.plugins}
    results = reported(files) if isinstance(files, Snapshot) else []
    return Overview(config, files.source, parameters, size, missing, _lacking(files), installed, results)


def find_files(
    given: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Files:
    """The files that a person means, here or on the Hub.

    Raises:
        VaekitError: saying what there is instead.
    """
    if not is_local(given):
        repo, revision = hub.split(str(given), revision)
        return Snapshot(
            repo,
            revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )
    if revision is not None:
        raise ConfigError(f"{given} is a folder here, which has no revision {revision!r}: leave it out")
    return Folder(model_folder(given))


def _lacking(files: Files) -> str:
    try:
        there = files.first_of(WEIGHTS, INDEX)
    except HubError:
        return ""
    return "" if there else f"no {WEIGHTS}{likeness(files.names())}"


def is_local(given: str | Path) -> bool:
    """Whether a folder here is meant rather than a repo: never a guess."""
    if isinstance(given, Path) or given == "latest":
        return True
    if given.startswith(("~", "./", "../", "/", os.sep)) or os.path.isabs(given) or os.path.lexists(given):
        return True
    return not hub.is_id(given)


def _load(files: Files, device: str, dtype: torch.dtype | None, max_bytes: int) -> tuple[VAE, dict[str, File]]:
    """The model, and the files that it was made of under the names they have in a model folder."""
    target = find_device(device)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ConfigError(f"a model cannot be of {short(repr(dtype))}: give a dtype of floating point, such as torch.float16")
    config = _config(files)
    made, expected = _expected(config, files)
    held = weights.size_of((*made.parameters(), *made.buffers()))
    if held > max_bytes:
        raise CheckpointError(
            f"{files.source}: its config asks for {held:,} bytes of memory, more than the {max_bytes:,} allowed: "
            "where that is meant, vaekit.load(..., max_bytes=...) in Python allows it"
        )
    found = weights.find(files, expected)
    with torch.random.fork_rng([]), weights.Unfilled():
        model = build_model(config)
    model.load_state_dict(weights.read(found), strict=True)
    model.source = files.source
    return model.to(target, dtype).eval(), {CONFIG: files.get(CONFIG, 0, strictjson.MOST_BYTES), **found}


def save(model: VAE, folder: str | Path, whole: Mapping[str, Tensor] | None = None) -> Path:
    """Write a model folder; each file appears under its name only when it is whole, the config last.

    Args:
        model: to save.
        folder: is made where it is missing; a model that is there is replaced.
        whole: the weights, where the model itself has only shards of them.

    Returns:
        The folder.

    Raises:
        CheckpointError: where it cannot be written.
        UnknownPart: where the model has no config, and a part that no plugin brings by name.
    """
    folder = _spelt(folder)
    config = model.config or describe(model)
    dtype = str(next(iter(model.parameters()), model.context.empty).dtype).removeprefix("torch.")
    config = config.model_copy(update={"dtype": dtype})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in (whole or model.state_dict()).items()}
        write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, {"format": "pt"}))
        write_whole(folder / CARD, lambda path: path.write_text(card(model, config), encoding="utf-8"))
        write_whole(folder / CONFIG, lambda path: path.write_text(config.to_json(), encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from None
    return folder


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `path`, then give it its name, so that nobody ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def model_folder(given: str | Path) -> Path:
    """The model folder that a person means: itself, or the one in a run; `latest` is the newest run under ./runs.

    Raises:
        CheckpointError: saying what there is instead.
    """
    run = run_of(given)
    folder = run / "model" if run else _spelt(given)
    if run and not folder.is_dir():
        raise CheckpointError(f"{run} holds no model: it was stopped before its first epoch was done")
    if not os.path.isdir(folder):
        raise CheckpointError(
            f"no folder {short(hub.scrubbed(str(given)))}, nor is that a repo on the Hub, user/model or user/model@revision: "
            "give a run, a model folder, a repo, or 'latest' for the newest run under ./runs"
        )
    if not os.path.lexists(folder / CONFIG):
        hidden = ""
        if isinstance(given, str) and hub.is_id(given) and "@" not in given:
            hidden = f"; the folder hides the repo of that name: {given}@main is the one on the Hub"
        raise CheckpointError(f"{folder} holds no model: there is no {CONFIG}{likeness(Folder(folder).names())}{hidden}")
    return folder


def run_of(given: str | Path) -> Path | None:
    """The run that a person means by a model: its directory, its model folder, or `latest`; None for a model without a run."""
    folder = _spelt(given)
    if str(given) == "latest" and not folder.exists():
        runs = [path.parent for path in Path("runs").glob("*/run.json")]
        if not runs:
            raise CheckpointError("there is no run under ./runs yet: vaekit train digits")
        return max(runs, key=lambda run: (run / "run.json").stat().st_mtime_ns)
    if os.path.isfile(folder / "run.json"):
        return folder
    return folder.parent if folder.name == "model" and os.path.isfile(folder.parent / "run.json") else None


def title(given: str | Path) -> str:
    """What people call a model: the name of its run or folder, or its repo."""
    run = run_of(given)
    if run is not None:
        return short(run.resolve().name)
    return short(Path(given).resolve().name if Path(given).exists() else str(given).partition("@")[0])


def run_folder(given: str | Path) -> Path:
    """The run that a person means.

    Raises:
        CheckpointError: where there is none.
    """
    run = run_of(given)
    if run is None:
        raise CheckpointError(f"{given} is not a run: give a run directory, or 'latest' for the newest one under ./runs")
    return run


def _spelt(given: str | Path) -> Path:
    """A path with the home folder in place of `~`; as it is where nobody has that home."""
    return Path(os.path.expanduser(given))


def _check_replaceable(folder: Path, named: Path | None = None) -> None:
    """Whether a model may be written there: nothing but a model of vaekit is ever replaced.

    Args:
        folder: that is to be replaced.
        named: what it is called in errors, where it has been put aside.
    """
    named = named or folder
    if named.name == "model" and os.path.isfile(named.parent / "run.json"):
        raise ConfigError(f"{named} is of a run, whose record is of the model that was trained there: give another")
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise ConfigError(f"{named} is there already, and no folder: give another")
    if folder.resolve() == Path.cwd():
        raise ConfigError(f"{named} is the folder that you are in: give one inside it")
    paths = sorted(folder.iterdir())
    others = [path.name for path in paths if not _is_of_a_model(path)]
    if others:
        raise ConfigError(f"{named} is there already and holds more than a model, {short(others[0])!r} for one: give another")
    try:
        if paths:
            _config(Folder(folder))
    except VaekitError:
        raise ConfigError(f"{named} is there already, and what it holds is no model of vaekit: give another") from None


def _is_of_a_model(path: Path) -> bool:
    named = path.name in (CONFIG, WEIGHTS, CARD, INDEX) or weights.SHARD.fullmatch(path.name) is not None
    return named and (path.is_symlink() or not path.is_dir())


def _remove_model(folder: Path) -> None:
    """Remove a model that has been replaced, and nothing else that is beside it by now."""
    try:
        for path in filter(_is_of_a_model, folder.iterdir()):
            path.unlink()
        folder.rmdir()
    except OSError as error:
        raise CheckpointError(f"what was there before is still in {folder} and cannot be removed: {error.strerror}") from None


def _config(files: Files) -> Config:
    if files.first_of(CONFIG) is None:
        raise CheckpointError(f"{files.source} holds no model: there is no {CONFIG}{likeness(files.names())}")
    return Config.from_json(files.get(CONFIG, 0, strictjson.MOST_BYTES).read(strictjson.MOST_BYTES))


def _expected(config: Config, files: Files) -> tuple[VAE, dict[str, Tensor]]:
    """The model without memory, and the tensors that it must have."""
    try:
        for kind in (kind for kind in DEFAULTS if kind != "loss"):
            find(kind, str(config.part(kind)["name"]))  # whose import is no part of the model
        with torch.device("meta"), weights.Unfilled():
            model = build_model(config)
    except VaekitError as error:
        raise type(error)(f"{error}{_provenance(config, error)}") from None
    return model, model.state_dict()


def _provenance(config: Config, error: VaekitError) -> str:
    """What the packages that a config names have to do with its not making a model here: nothing is acted on."""
    ours = {"vaekit", *(f"vaekit-{extra}" for extra in EXTRAS.values())}
    for package, needed in sorted(config.plugins.items()):
        installed = _installed(package)
        if installed and _is_later(needed, installed):
            cure = f": pip install --upgrade {package}" if package in ours else ""
            return f"; the config says that it was made with {package} {short(needed)}, and {installed} is installed{cure}"
    others = [repr(package) for package in sorted(config.plugins.keys() - ours)]
    if others and isinstance(error, UnknownPart):
        named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        return f"; the config says that its parts come from {named}; installing a package runs its code"
    return ""


def _installed(package: str) -> str | None:
    """The version of a package that a stranger's config names, where it is installed."""
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None


def _is_later(a: str, b: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(a) > Version(b)
    except InvalidVersion:
        return False

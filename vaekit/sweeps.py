"""Many runs of one data set: every combination of some options, each with several seeds; stopped and continued at will.

A sweep is a folder of runs, with sweep.json, sweep.csv and a figure of rates and distortions beside them.
"""

import csv
import hashlib
import itertools
import json
import math
import multiprocessing
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from vaekit import figures, io, recipes, strictjson
from vaekit.config import DEFAULTS
from vaekit.data.check import check_labels, check_padding, check_support
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions
from vaekit.errors import ConfigError, TrainingError, VaekitError
from vaekit.launch import launched
from vaekit.recipes import Recipe
from vaekit.resuming import continued, existing
from vaekit.runs import Run
from vaekit.starting import new_model
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions

_MOST = 10_000  # runs
_FIGURE = "rate-distortion.png"
_TERMS = ("nelbo", "reconstruction", "kl")


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep.

    Args:
        path: of the folder.
        rows: one a run: `values` of what is swept, `seed`, `run`, `status`, `error`, and the test set's `nelbo`,
            `reconstruction` and `kl` in nats per example.
    """

    path: Path
    rows: tuple[dict[str, Any], ...]

    @property
    def swept(self) -> list[str]:
        """What takes values."""
        return list(dict.fromkeys(what for row in self.rows for what in row["values"]))

    @property
    def figure(self) -> Path | None:
        """Rates and distortions; None where likelihoods differ, whose distortions do not compare."""
        path = self.path / _FIGURE
        return path if path.is_file() else None

    def means(self) -> list[dict[str, Any]]:
        """One row a combination: its `values`, how many `seeds` were done, and of each term the mean and the deviation."""
        found = []
        for _, group in itertools.groupby(self.rows, key=lambda row: json.dumps(row["values"])):
            rows = list(group)
            done = [row for row in rows if row["reconstruction"] is not None]
            terms = {term: [row[term] for row in done if row[term] is not None] for term in _TERMS}
            means = {term: mean(values) if values else None for term, values in terms.items()}
            spread = {f"{term}_std": stdev(values) if len(values) > 1 else None for term, values in terms.items()}
            found.append({"values": rows[0]["values"], "seeds": len(done), **means, **spread})
        return found


def sweep(
    data: str | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: int = 1,
    jobs: int = 1,
    recipe: str | None = None,
    short: bool = False,
    data_options: Mapping[str, Any] | None = None,
    data_root: str | Path | None = None,
    output: str | Path = "runs",
    name: str | None = None,
    progress: bool = True,
    **training: Any,
) -> Sweep:
    """Train a model for every combination; those that are done are not done again.

    Args:
        data: the name of a data set; that of the recipe unless given.
        grid: values by what takes them: `{"loss.beta": [0, 1], "encoder": ["mlp", "lstm"]}`; the combinations of the recipe
            unless given.
        seeds: runs of each combination, with the seeds from 0.
        jobs: processes at once.
        recipe: a named config to start from.
        short: whether to train the recipe for its short length.
        data_options: fields of DataOptions.
        data_root: where named data sets are.
        output: the folder to make the sweep in.
        name: of the sweep; that of the data and a piece of a hash of all this, and of what the recipe says, unless given, so
            that it is found again.
        progress: whether to say on standard error how runs go; of one job.
        training: fields of TrainingOptions but `seed`.

    Raises:
        VaekitError: where there is nothing to sweep, a combination cannot be trained, two are the same, or a run that is there
            is of something else; before any run.
    """
    chosen = recipes.start(recipe, short).but(data, {}, data_options or {}, training)
    source = chosen.source
    if not isinstance(source, str):
        raise ConfigError("which data set? a sweep takes the name of one, or a recipe")
    combinations = _combinations(grid or {}, chosen, seeds)
    if jobs < 1:
        raise ConfigError(f"{jobs} jobs: at least one is needed")
    if launched():
        raise ConfigError("a sweep is one process, not several ranks; --jobs trains several runs at once")
    if "seed" in training:
        raise ConfigError("a sweep counts its seeds from 0: say how many by seeds")
    options = TrainingOptions(**chosen.training)
    _check_all(chosen, combinations, options, data_root)
    told = {
        "data": source,
        "combinations": combinations,
        "recipe": recipe,
        "short": short,
        "data_options": dict(data_options or {}),
        "training": training,
        "asked": chosen.model_dump(mode="json", include={"parts", "data", "training"}),
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(output) / (name or f"sweep-{re.sub('[^a-z0-9-]', '-', source.partition(':')[0])}-{key}")
    tasks: list[dict[str, Any]] = [
        {
            "name": _slug(values, seed),
            "output": folder,
            "recipe": chosen.but(None, recipes.parts(values), {}, {"seed": seed}),
            "data_root": data_root,
            "progress": progress and jobs == 1,
        }
        for values in combinations
        for seed in range(seeds)
    ]
    for task in tasks:
        existing(folder / task["name"], task["recipe"])
    _claim(folder, told)
    done = list(_all_run(tasks, jobs))
    pairs = itertools.product(combinations, range(seeds))
    rows = tuple({"values": values, "seed": seed, **row} for (values, seed), row in zip(pairs, done, strict=True))
    found = Sweep(folder, rows)
    _write(found, told)
    return found


def _combinations(grid: Mapping[str, Sequence[Any]], chosen: Recipe, seeds: int) -> list[dict[str, Any]]:
    """What to try: every combination of a grid, else those of the recipe."""
    if seeds < 1:
        raise ConfigError(f"{seeds} seeds: at least one is needed")
    if not all(grid.values()) or not (grid or any(chosen.sweep)):
        raise ConfigError("nothing to sweep: give values, such as loss.beta=0,1,12")
    if math.prod(map(len, grid.values())) * seeds > _MOST:
        raise ConfigError(f"{math.prod(map(len, grid.values())) * seeds:,} runs: {_MOST:,} are the most")
    product = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    found = product if grid else [dict(values) for values in chosen.sweep]
    for what in dict.fromkeys(what for values in found for what in values):
        if what.partition(".")[0] not in DEFAULTS:
            raise ConfigError(f"{what!r} cannot be swept: give a part, or an option of one, such as loss.beta")
    return found


def _check_all(chosen: Recipe, combinations: list[dict[str, Any]], options: TrainingOptions, root: str | Path | None) -> None:
    """See that every combination can be trained, so that none fails after others have been, and that no two are the same."""
    found = load(chosen.source, DataOptions(**chosen.data), root)
    models: dict[str, dict[str, Any]] = {}
    likelihoods: set[str] = set()
    for values in combinations:
        try:
            model, loss = new_model(found, chosen.but(None, recipes.parts(values), {}, {}).parts)
            config = model.config
            assert config is not None
            twin = models.setdefault(_plain({kind: config.part(kind) for kind in DEFAULTS}), values)
            if twin is not values:
                raise ConfigError(f"the same model as {_said(twin)}: leave out one, and say by seeds how often to train it")
            check_padding(model.encoder, found)
            check_labels(model.context, found)
            if _plain(config.likelihood) not in likelihoods:
                check_support(model.likelihood, found)
                likelihoods.add(_plain(config.likelihood))
            Trainer(model, loss, options)
        except VaekitError as error:
            raise type(error)(f"{_said(values)}: {error}") from None


def _plain(value: Any) -> str:
    """JSON in which numbers that are the same look the same: 1.0 is 1."""

    def numbers(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: numbers(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [numbers(inner) for inner in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return json.dumps(numbers(value), sort_keys=True)


def _said(values: Mapping[str, Any]) -> str:
    return " ".join(f"{what}={value if isinstance(value, str) else json.dumps(value)}" for what, value in values.items())


def _slug(values: Mapping[str, Any], seed: int) -> str:
    """The name of a run: what it is of, with a piece of a hash where a folder's name cannot say it all."""
    wanted = _said(values).replace(" ", "-")
    said = re.sub(r"[^A-Za-z0-9.=_-]+", "-", wanted).strip("-")[:93]
    digest = hashlib.sha256(_said(values).encode()).hexdigest()[:6]
    return f"{said if said == wanted else f'{said}-{digest}'}-seed{seed}"


def _all_run(tasks: list[dict[str, Any]], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(_run, tasks)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_run, tasks)


def _run(task: dict[str, Any]) -> dict[str, Any]:
    """Make one run, or continue it, or find it done."""
    error = ""
    try:
        run = continued(**task)
    except TrainingError as failed:
        run, error = Run(Path(task["output"]) / task["name"]), str(failed)
    if run.status == "interrupted":
        raise KeyboardInterrupt
    tests = [row for row in run.metrics if row["split"] == "test"]
    terms = {term: tests[-1].get(term) if tests else None for term in _TERMS}
    return {"run": run.path.name, "status": run.status, "error": error, **terms}


def _claim(folder: Path, told: dict[str, Any]) -> None:
    """See that a folder is of this sweep, or make it so."""
    try:
        before = strictjson.loads((folder / "sweep.json").read_bytes())
        if not isinstance(before, dict):
            raise ValueError("an object is wanted")
    except FileNotFoundError:
        before = None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} holds no sweep that can be read ({error}): choose another name") from None
    if before is not None and {key: before.get(key) for key in told} != json.loads(json.dumps(told)):
        raise ConfigError(f"{folder} is a sweep of something else: choose another name")
    if before is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _document(folder, told, ())
        except OSError as error:
            raise ConfigError(f"no sweep can be made in {folder}: {error.strerror}") from None


def _document(folder: Path, told: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    text = json.dumps({**told, "rows": rows}, indent=2, ensure_ascii=False) + "\n"
    io.write_whole(folder / "sweep.json", lambda path: path.write_text(text, encoding="utf-8"))


def _write(found: Sweep, told: dict[str, Any]) -> None:
    _document(found.path, told, found.rows)
    columns = [*found.swept, "seed", *_TERMS, "status", "run", "error"]

    def table(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({**row["values"], **{k: row[k] for k in columns if k in row}} for row in found.rows)

    io.write_whole(found.path / "sweep.csv", table)
    points = [(row["kl"], row["reconstruction"], "" if row["seed"] else _label(row)) for row in _comparable(found)]
    if points:
        figures.save(figures.rate_distortion(points), found.path / _FIGURE)
    else:
        (found.path / _FIGURE).unlink(missing_ok=True)


def _comparable(found: Sweep) -> list[dict[str, Any]]:
    """The runs that are done and have distortions that compare: none where likelihoods differ."""
    if any(what.partition(".")[0] == "likelihood" for what in found.swept):
        return []
    return [row for row in found.rows if row["kl"] is not None and row["reconstruction"] is not None]


def _label(row: Mapping[str, Any]) -> str:
    """What a run is of, options without the kind of their part where that is clear."""
    short = [what.partition(".")[2] or what for what in row["values"]]
    clear = len(set(short)) == len(short)
    return _said(dict(zip(short, row["values"].values(), strict=True)) if clear else row["values"])

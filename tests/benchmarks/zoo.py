"""One representative of each part, trained on MNIST for a short time, and what came out: the tables of docs/zoo.md.

    python tests/benchmarks/zoo.py --data-root FOLDER [--work FOLDER] [--epochs 3] [--only latent,prior-vamp] [--write]

Every row differs from the textbook model (dense layers of 400 units, 16 Gaussian latents, Bernoulli likelihood, ELBO) in what
it names and in what that part needs beside it. All train on MNIST's 55,000 training images, binarised anew each time they are
seen, and are evaluated on 500 test images, binarised once; or on grey levels from 0 to 1; or, as an array of which a fifth is
cut off for validation and testing, on levels from 0 to 255 as counts. A few epochs are too few for any of them to be at its
best: it shows that they work, what they cost and what kind of number they give, not which is better.

Each computes on one thread. Rows that are done are kept in the work folder, and a second call trains only those that are
missing there or were made otherwise. `--write`, of all rows, writes the tables and pictures of docs/zoo.md anew.
"""

import argparse
import json
import platform
import shutil
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vaekit
from vaekit import figures, registry
from vaekit.config import DEFAULTS
from vaekit.data.catalog import Examples
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions

ROOT = Path(__file__).parents[2]
PAGE, PICTURES = ROOT / "docs/zoo.md", ROOT / "docs/images"
BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"
DENSE = {"name": "mlp", "hidden": [400]}
GRID: dict[str, Any] = {
    "encoder": {"name": "conv", "width": 16, "depth": 2},
    "decoder": {"name": "transposed-conv", "width": 16, "depth": 2},
}
OF_CODES: dict[str, Any] = {
    "encoder": {"name": "conv", "width": 16, "depth": 3},  # to a map of 4 by 4
    "decoder": {"name": "transposed-conv", "width": 16, "depth": 3},
    "prior": "codes",
    "refit": {"name": "transformer"},
}
COLUMNS = 16


@dataclass(frozen=True)
class Row:
    """A model of the tables.

    Args:
        kind: of the part that it stands for.
        name: of it.
        parts: that differ from the textbook.
        data: `binary`; `grey`, from 0 to 1; or `counts`, the grey levels from 0 to 255 as counts.
        refit: the prior that is fitted afterwards.
    """

    kind: str
    name: str
    parts: dict[str, Any] = field(default_factory=dict)
    data: str = "binary"
    refit: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.name}"


def entry(kind: str, name: str, /, data: str = "binary", refit: Any = None, options: Any = None, **parts: Any) -> Row:
    return Row(kind, name, {**parts, kind: {"name": name, **(options or {})}}, data, refit)


def refitted(name: str, **parts: Any) -> Row:
    return Row("refit", name, parts, refit={"name": name})


ROWS = [
    entry("latent", "gaussian", options={"features": 16}),
    entry("latent", "full-gaussian", options={"features": 16}),
    entry("latent", "grid-gaussian", **GRID),
    entry("latent", "hyperspherical", prior="uniform", options={"features": 17}),
    entry("latent", "poincare", prior="wrapped-normal", options={"features": 10}),
    entry("latent", "categorical", prior="relaxed-categorical"),
    entry("latent", "joint"),
    entry("latent", "ladder"),
    entry("latent", "flow", options={"features": 16}),
    entry("latent", "vq", options={"codes": 64, "width": 16}, **OF_CODES),
    entry("latent", "residual-vq", options={"codes": 64, "width": 16, "quantizers": 2}, **OF_CODES),
    entry("latent", "fsq", **OF_CODES),
    entry("latent", "point", loss="rae", refit={"name": "mixture"}, options={"features": 16}),
    entry("prior", "mixture"),
    entry("prior", "vamp"),
    entry("prior", "flow"),
    entry("prior", "conditional", context="labels"),
    refitted("mixture"),
    refitted("vamp"),
    refitted("flow"),
    *(entry("likelihood", name) for name in ("bernoulli", "pixelcnn")),
    *(entry("likelihood", name, data="grey") for name in ("gaussian", "laplace", "student-t", "continuous-bernoulli")),
    entry("likelihood", "beta", data="grey", options={"margin": 0.01}),
    *(entry("likelihood", name, data="grey") for name in ("discretized-logistic", "discretized-logistic-mixture")),
    entry("likelihood", "categorical", options={"levels": 2}),  # 256 levels take an hour
    *(entry("likelihood", name, data="counts") for name in ("poisson", "negative-binomial")),
    entry("loss", "elbo", options={"warmup": 1000, "free_bits": 0.1}),
    *(entry("loss", name) for name in ("iwae", "miwae", "ciwae", "piwae", "dreg")),
    *(entry("loss", name) for name in ("beta-tc", "factor", "dip", "info", "wae-mmd", "wae-gan", "vae-gan", "ms-ssim")),
    *(entry("encoder", name) for name in ("mlp", "conv", "resnet", "lstm", "vit")),
    *(entry("decoder", name) for name in ("mlp", "transposed-conv", "resnet", "spatial-broadcast", "lstm")),
]
STAND_FOR = {  # what trains in the rows of others
    ("prior", "normal"): "latent-gaussian",
    ("prior", "uniform"): "latent-hyperspherical",
    ("prior", "wrapped-normal"): "latent-poincare",
    ("prior", "relaxed-categorical"): "latent-categorical",
    ("prior", "codes"): "latent-vq",
    ("prior", "transformer"): "latent-vq",
    ("loss", "rae"): "latent-point",
    ("loss", "prior-nll"): "refit-mixture",
    ("context", "none"): "latent-gaussian",
    ("context", "labels"): "prior-conditional",
}


def given(row: Row, root: str) -> tuple[Any, DataOptions, Examples]:
    """What a row trains on, how it is prepared, and the test set."""
    options = DataOptions(binarize="dynamic" if row.data == "binary" else "none")
    data = load("mnist", options, root)
    if row.data != "counts":
        return "mnist", options, data.test
    return _counts(data.train), DataOptions(), Examples(_counts(data.test))


def _counts(examples: Examples) -> Tensor:
    assert isinstance(examples.x, Tensor)
    return examples.x.float() if examples.x.dtype == torch.uint8 else examples.x * 255


def trained(row: Row, work: Path, root: str, epochs: int) -> vaekit.Run:
    """The run of a row."""
    data, options, _ = given(row, root)
    training: dict[str, Any] = {"data_root": root, "output": work, "epochs": epochs, "threads": 1, "progress": False}
    if row.kind == "refit":
        measured(ROWS[0], work, root, epochs)
        start = vaekit.Run(work / ROWS[0].label)
    else:
        parts = {"encoder": DENSE, "decoder": DENSE, "latent": {"features": 16}, **row.parts}
        start = vaekit.fit(data, **parts, data_options=options.model_dump(), name=row.label, **training)
    if row.refit is None:
        return start
    return vaekit.refit(start.path, prior=row.refit, name=_refitted(row), **training)


def _refitted(row: Row) -> str:
    return row.label if row.kind == "refit" else f"{row.label}-refit"


def measured(row: Row, work: Path, root: str, epochs: int) -> dict[str, Any]:
    """What the tables say of a row: made, or found."""
    file, made = work / f"{row.label}.json", {"parts": row.parts, "data": row.data, "refit": row.refit, "epochs": epochs}
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if found.get("made") == made:
        return found
    for name in {row.label, _refitted(row)}:
        shutil.rmtree(work / name, ignore_errors=True)  # it was cut off, or is of something else
    start = time.process_time()
    run = trained(row, work, root, epochs)
    seconds = time.process_time() - start
    _, _, test = given(row, root)
    torch.set_num_threads(1)
    numbers = vaekit.evaluate(run.model, vaekit.Batches(test, 200), k=100, n=500)
    keys = ("nelbo", "nll", "nll_standard_error", "kl", "base_measure")
    found = {"made": made, **{key: numbers[key] for key in keys}, "seconds": seconds}
    file.write_text(json.dumps(found))
    return found


def table(rows: list[tuple[Row, dict[str, Any]]]) -> str:
    kind = rows[0][0].kind
    lines = [f"| {kind} | with | negative ELBO | NLL, 100 draws | seconds |", "| --- | --- | ---: | ---: | ---: |"]
    for row, found in rows:
        bound = "none" if found["nelbo"] is None else f"{found['nelbo']:.1f}"
        nll = "none" if found["nll"] is None else f"{found['nll']:.1f} ± {found['nll_standard_error']:.1f}"
        lines.append(f"| {row.name} | {', '.join(_with(row))} | {bound} | {nll} | {found['seconds']:.0f} |")
    return "\n".join(lines)


def _with(row: Row) -> list[str]:
    others = {kind: part for kind, part in row.parts.items() if kind != row.kind}
    said = [f"{row.kind}.{key}={value}" for key, value in row.parts.get(row.kind, {}).items() if key != "name"]
    said += [f"{kind} {part if isinstance(part, str) else part['name']}" for kind, part in others.items()]
    said += [f"prior {row.refit['name']} by refit"] if row.refit and row.kind != "refit" else []
    return said + ([row.data] if row.data != "binary" else [])


def picture(rows: list[Row], work: Path) -> Path:
    """Samples of each model, a row each, in the order of the table."""
    strips = []
    for row in rows:
        model = vaekit.Run(work / (_refitted(row) if row.refit else row.label)).model
        y = torch.arange(COLUMNS) % 10 if model.conditional else None
        images = model.sample(COLUMNS, y=y, seed=1)
        strips.append(images / 255 if row.data == "counts" else images)
    figure = figures.labelled(torch.cat(strips), [row.name for row in rows], [""] * COLUMNS)
    return figures.save(figure, PICTURES / f"zoo-{rows[0].kind}.png")


def written(done: list[tuple[Row, dict[str, Any]]], work: Path, epochs: int) -> None:
    """Put the tables and pictures into the page."""
    sections = []
    for kind, rows in groupby(done, lambda one: one[0].kind):
        of_kind = list(rows)
        path = picture([row for row, _ in of_kind], work)
        names = ", ".join(row.name for row, _ in of_kind)
        text = f"![Samples, a row each: {names}](images/{path.name})"
        sections.append(f"## {TITLES[kind]}\n\n{table(of_kind)}\n\n{text}\n")
    versions = f"torch {torch.__version__.partition('+')[0]}, vaekit {vaekit.__version__}"
    said = f"{epochs} epochs each, on one core of an {platform.machine()} machine, {versions}.\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", said, *sections]) + f"{END}{after}", encoding="utf-8")


TITLES = {
    "latent": "Latents",
    "prior": "Priors, trained with the model",
    "refit": "Priors, fitted to a trained model",
    "likelihood": "Likelihoods",
    "loss": "Losses",
    "encoder": "Encoders",
    "decoder": "Decoders",
}


def missing() -> list[str]:
    """Parts of the project's own that no row stands for."""
    there = {(row.kind, row.name) for row in ROWS} | STAND_FOR.keys() | set(DEFAULTS.items())
    return [f"{p.kind} {p.name}" for p in registry.list() if (p.kind, p.name) not in there]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", default="", help="kinds, or KIND-NAME, with commas between")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.write and asked.only:
        parser.error("--write is of all rows: leave --only out")
    only = set(filter(None, asked.only.split(",")))
    chosen = [row for row in ROWS if not only or row.kind in only or row.label in only]
    asked.work.mkdir(parents=True, exist_ok=True)
    done = []
    for row in chosen:
        done.append((row, measured(row, asked.work, asked.data_root, asked.epochs)))
        print(row.kind, table(done[-1:]).splitlines()[-1], flush=True)
    print(f"no row for: {', '.join(missing()) or 'none missing'}")
    if asked.write:
        written(done, asked.work, asked.epochs)


if __name__ == "__main__":
    main()

"""One representative of each part, trained on MNIST for a short time, and what came out: the table of docs/zoo.md.

    python tests/benchmarks/zoo.py --data-root FOLDER [--work FOLDER] [--epochs 5] [--only latent,prior] [--write]

Every row differs from the textbook model (dense layers of 400 units, 16 Gaussian latents, Bernoulli likelihood, ELBO) in what
it names and in nothing else but for what that part needs. All train on the same 55,000 images, binarised anew each time they
are seen, and are evaluated on the test images, binarised once. Five epochs are too few for any of them to be at its best: it
shows that they work, what they cost and what kind of number they give, not which is better.

Runs are kept in the work folder, and a second call trains only what is missing there. `--write` writes docs/zoo.md's table and
its picture anew.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import vaekit
from vaekit import figures, inputs, registry
from vaekit.config import DEFAULTS

ROOT = Path(__file__).parents[2]
PAGE, PICTURE = ROOT / "docs/zoo.md", ROOT / "docs/images/zoo.png"
BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"
DENSE = {"name": "mlp", "hidden": [400]}
GRID = {"encoder": {"name": "conv", "width": 16, "depth": 2}, "decoder": {"name": "transposed-conv", "width": 16, "depth": 2}}
GREY = {"binarize": "none"}


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Args:
        kind: of the part that it stands for.
        name: of it.
        parts: that differ from the textbook.
        data: options of the data that do.
        refit: the prior that is fitted afterwards, where the part is that.
    """

    kind: str
    name: str
    parts: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    refit: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        return f"{self.kind}-{self.name}"


def entry(kind: str, name: str, /, data: Any = None, refit: Any = None, options: Any = None, **parts: Any) -> Row:
    own = {} if refit else {kind: {"name": name, **(options or {})}}
    return Row(kind, name, {**parts, **own}, data or {}, refit)


CODES = {"name": "vq", "codes": 64, "width": 16}
ROWS = [
    entry("latent", "gaussian", options={"features": 16}),
    entry("latent", "full-gaussian", options={"features": 16}),
    entry("latent", "grid-gaussian", **GRID),
    entry("latent", "hyperspherical", prior="uniform", options={"features": 17}),
    entry("latent", "poincare", prior="wrapped-normal", options={"features": 10}),
    entry("latent", "categorical", prior="relaxed-categorical"),
    entry("latent", "joint"),
    entry("latent", "ladder"),
    entry("latent", "flow"),
    entry("latent", "vq", prior="codes", **GRID),
    entry("latent", "residual-vq", prior="codes", **GRID),
    entry("latent", "fsq", prior="codes", **GRID),
    entry("latent", "point", loss="rae"),
    entry("prior", "mixture"),
    entry("prior", "vamp"),
    entry("prior", "flow"),
    entry("prior", "conditional", context="labels"),
    entry("prior", "transformer", refit={"name": "transformer"}, latent=CODES, **GRID),
    *(entry("likelihood", name) for name in ("bernoulli", "pixelcnn")),
    *(entry("likelihood", name, data=GREY) for name in ("gaussian", "laplace", "student-t", "beta", "continuous-bernoulli")),
    *(entry("likelihood", name, data=GREY) for name in ("discretized-logistic", "discretized-logistic-mixture", "categorical")),
    entry("loss", "elbo", options={"warmup": 1000, "free_bits": 0.1}),
    *(
        entry("loss", name)
        for name in ("iwae", "miwae", "ciwae", "piwae", "dreg", "beta-tc", "dip", "info", "wae-mmd", "ms-ssim")
    ),
    *(entry("loss", name) for name in ("factor", "wae-gan", "vae-gan")),
    *(entry("encoder", name) for name in ("conv", "resnet", "lstm", "vit")),
    *(entry("decoder", name) for name in ("transposed-conv", "resnet", "spatial-broadcast", "lstm")),
]


def trained(row: Row, work: Path, root: str, epochs: int) -> vaekit.Run:
    """The run of a row, made or found."""
    parts = {"encoder": DENSE, "decoder": DENSE, "latent": {"features": 16}, **row.parts}
    run = _run(work / row.label)
    if run is None:
        data = {"binarize": "dynamic", **row.data}
        run = vaekit.fit("mnist", **parts, data_options=data, data_root=root, output=work, name=row.label, epochs=epochs)
    if row.refit is None:
        return run
    again = _run(work / f"{row.label}-refit")
    return again or vaekit.refit(run.path, prior=row.refit, output=work, name=f"{row.label}-refit", epochs=epochs)


def _run(path: Path) -> vaekit.Run | None:
    if not path.is_dir():
        return None
    run = vaekit.Run(path)
    return run if run.status == "done" else vaekit.resume(path)


def measured(row: Row, work: Path, root: str, epochs: int) -> dict[str, Any]:
    """What the table says of a row."""
    file = work / f"{row.label}.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    start = time.perf_counter()
    run = trained(row, work, root, epochs)
    seconds = time.perf_counter() - start
    model = run.model
    data = inputs.data_of(str(run.path), model)
    numbers = vaekit.evaluate(model, vaekit.Batches(data.test, 200), k=100, n=500)
    speeds = [r["images_per_second"] for r in run.metrics if r["split"] == "train"]
    keys = ("nelbo", "nll", "nll_standard_error", "base_measure")
    found = {**{key: numbers[key] for key in keys}, "seconds": seconds, "images_per_second": max(speeds)}
    file.write_text(json.dumps(found))
    return found


def table(rows: list[tuple[Row, dict[str, Any]]]) -> str:
    lines = ["| part | negative ELBO | NLL, 100 draws | seconds | images/s | with |", "| --- | --- | --- | --- | --- | --- |"]
    for row, found in rows:
        bound = "none" if found["nelbo"] is None else f"{found['nelbo']:.1f}"
        nll = "none" if found["nll"] is None else f"{found['nll']:.1f} ± {found['nll_standard_error']:.1f}"
        others = [f"{kind} {_named(part)}" for kind, part in row.parts.items() if kind != row.kind]
        unit = [] if found["base_measure"] == "counting" else ["densities"]
        lines.append(
            f"| {row.kind} {row.name} | {bound} | {nll} | {found['seconds']:.0f} | {found['images_per_second']:,.0f} | "
            f"{', '.join([*others, *unit])} |"
        )
    return "\n".join(lines)


def _named(part: Any) -> str:
    return part if isinstance(part, str) else str(part["name"])


def picture(rows: list[Row], work: Path) -> None:
    """Eight samples of each model, one row each, in the order of the table."""
    strips = []
    for row in rows:
        path = work / (f"{row.label}-refit" if row.refit else row.label)
        strips.append(figures.samples(vaekit.Run(path).model, 1, 16, seed=1))
    figures.save(figures.stack(strips), PICTURE)


def written(text: str, epochs: int) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    versions = f"torch {torch.__version__.partition('+')[0]}, vaekit {vaekit.__version__}, {torch.get_num_threads()} threads"
    said = f"{epochs} epochs each, {platform.machine()}, {versions}."
    PAGE.write_text(f"{before}{BEGIN}\n{said}\n\n{text}\n{END}{after}", encoding="utf-8")


def missing() -> list[str]:
    """Parts of the project's own that no row stands for."""
    there = {(row.kind, row.name) for row in ROWS}
    textbook = set(DEFAULTS.items())
    return [f"{p.kind} {p.name}" for p in registry.list() if (p.kind, p.name) not in there | textbook]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default="", help="kinds, or KIND-NAME, with commas between")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    chosen = [row for row in ROWS if not only or row.kind in only or row.label in only]
    done = []
    for row in chosen:
        done.append((row, measured(row, asked.work, asked.data_root, asked.epochs)))
        print(table(done[-1:]).splitlines()[-1], flush=True)
    print(f"no row for: {', '.join(missing()) or 'none missing'}")
    if asked.write:
        picture([row for row, _ in done], asked.work)
        written(table(done), asked.epochs)


if __name__ == "__main__":
    main()

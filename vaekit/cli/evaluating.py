"""`vaekit evaluate` and `vaekit classifier`: how good a model is."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import models, overrides, show
from vaekit.cli.training import Json
from vaekit.errors import CheckpointError, ConfigError, ShapeError

if TYPE_CHECKING:
    from pathlib import Path

    from vaekit.data.prepare import Data
    from vaekit.model import VAE
    from vaekit.runs import Run


def evaluate(
    model: models.Model,
    data: Annotated[str | None, typer.Argument(help="A data set.  [default: the one the model was trained on]")] = None,
    k: Annotated[int | None, typer.Option("-k", help="Importance samples an example.  [default: 200]", min=1)] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Examples for the importance-weighted likelihood.  [default: 1000]", min=1)
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="As papers do: k = 5,000 on the whole test set.")] = False,
    seed: Annotated[int, typer.Option(help="What the draws depend on.", min=0, max=2**32 - 1)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    data_root: models.DataRoot = None,
    report: Annotated[
        str | None,
        typer.Option(help="The HTML file to write.  [default: report.html in the run, report-DATA.html of other data]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """How good a model is on the test set: bounds, latents, reconstructions, and what is wrong with it."""
    from vaekit import evaluation, inputs, io
    from vaekit.data.batches import Batches
    from vaekit.data.check import check_labels, check_padding, check_support
    from vaekit.data.subset import some
    from vaekit.progress import counting
    from vaekit.runs import Run

    if paper and (k is not None or n is not None):
        raise ConfigError("--paper is k = 5,000 on the whole test set: leave out -k and -n, or leave out --paper")
    folder = io.run_of(model)
    run = Run(folder) if folder else None
    weights = run.weights if run else None  # those of a run that is still training may change meanwhile
    loaded = io.load(model, device=device)
    found = inputs.data_of(model, loaded, data, data_root)
    if found.shape != loaded.data_shape:
        raise ShapeError(f"{found.info.name} has examples of shape {found.shape}, this model takes {loaded.data_shape}")
    check_padding(loaded.encoder, found)
    check_labels(loaded.context, found)
    remark = check_support(loaded.likelihood, found)
    if remark:
        typer.echo(f"note: {remark}", err=True)
    page = _page(model, report, None if data is None else found.info.name)
    known = _classifier(found)
    size = len(found.test) if paper else min(n or 1000, len(found.test))
    train = found.train.take(some(len(found.train), _TRAIN, seed))
    with counting("importance-weighted likelihood, examples", size) as tell:
        numbers = evaluation.evaluate(
            loaded,
            Batches(found.test, 128),
            Batches(train, 128, dynamic=found.info.binarize == "dynamic", seed=seed),
            _loss(loaded),
            found.test.factors,
            known,
            k=5000 if paper else k or 200,
            n=size,
            seed=seed,
            tell=tell,
        )
    numbers = {"data": found.info.name, **numbers}
    if as_json:
        show.document(numbers)
    else:
        show.table(list(_lines(numbers)))
        typer.echo("\nwhat was found")
        for said in numbers["findings"] or ["nothing amiss"]:
            typer.echo(f"- {said}")
    if page:
        _report(model, page, numbers, loaded, data is None)
    if run and data is None:
        _keep(run, numbers, weights)


_TRAIN = 2000  # training examples that are looked at


def _page(model: str, target: str | None, other: str | None) -> "Path | None":
    """Where the report goes: into the run, or where it was asked for; a model without a run has no place of its own.

    Raises:
        ConfigError: where nothing can be written there, before anything is computed.
    """
    from pathlib import Path

    from vaekit import io

    run = io.run_of(model)
    name = f"report-{re.sub(r'[^A-Za-z0-9._-]+', '-', other)}.html" if other else "report.html"
    path = Path(target).expanduser() if target else run / name if run else None
    if path is None:
        return None
    try:
        io.write_whole(path.with_name(f".{path.name}.try"), lambda partial: partial.touch())
        path.with_name(f".{path.name}.try").unlink()
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; give --report FILE") from None
    if path.is_dir():
        raise ConfigError(f"{path} cannot be written: it is a folder; give --report FILE")
    return path


def _keep(run: "Run", numbers: dict[str, Any], weights: str | None) -> None:
    """Leave the numbers in the run, for the card that goes with the model to the Hub."""
    try:
        run.keep(numbers, weights)
    except CheckpointError as error:
        typer.echo(f"note: {error}", err=True)


def _report(model: str, path: "Path", numbers: dict[str, Any], loaded: "VAE", own: bool) -> None:
    """Write the page, with the pictures of the run where it is of the data that the run is of."""
    from vaekit import io
    from vaekit.report import report as page
    from vaekit.runs import Run

    run = io.run_of(model)
    pictures = Run(run).figures if run and own else []
    text = page(f"{run.name if run else model} on {numbers['data']}", _lines(numbers), numbers, loaded.config, pictures)
    try:
        io.write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    typer.echo(f"report {path}", err=True)


def _loss(model: "VAE") -> Any:
    """The loss that a model was trained with; None where it is not installed."""
    from vaekit.errors import UnknownPart
    from vaekit.wiring import build_loss

    if model.config is None:
        return None
    try:
        return build_loss(model.config, model).to(model.context.empty.device)
    except UnknownPart:
        return None


def _classifier(found: "Data") -> Any:
    """The classifier of such data, where there is one and there are examples enough."""
    from vaekit.evaluation import classifier

    known = classifier.find(found.info, found.shape)
    if known is not None and len(found.test) <= 2 * classifier.FEATURES + 1:
        typer.echo(f"note: {len(found.test)} test examples are too few for a Fréchet distance", err=True)
        return None
    return known


def _lines(numbers: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The numbers of an evaluation for people, in nats per example where nothing else is said."""
    train = numbers["train_nelbo"]
    pseudo = "  (of a pseudo-likelihood, no bound)" if numbers["outside_support"] else ""
    beside = "" if train is None else f"  (of training examples {train:.2f})"
    if numbers["nelbo"] is None:
        yield "negative ELBO", "none  (the latent has no density)"
        yield "  reconstruction", f"{numbers['reconstruction']:.2f}"
    else:
        yield "negative ELBO", f"{numbers['nelbo']:.2f}{beside}{pseudo}"
        yield "  reconstruction", f"{numbers['reconstruction']:.2f}"
        yield "  KL", f"{numbers['kl']:.2f}"
        yield from _likelihood(numbers, pseudo)
    latents = numbers["latents"]
    if latents["kl"] is not None:
        largest = sorted(latents["kl"], reverse=True)
        shown = " ".join(f"{value:.2f}" for value in largest[:12]) + (" …" if len(largest) > 12 else "")
        yield "KL by dimension", f"{shown}  (from the largest; {latents['kl_units']} above 0.1)"
    active = latents["active_units"]
    if active is not None:
        yield "active units", f"{active} of {latents['dimensions']}  (variance of the code over 0.01)"
    told = latents["information"]
    if told is not None:
        least, most, full = ("at least ", "at most ", "; saturated, N is too small") if told["saturated"] else ("", "", "")
        yield "mutual information", f"{least}{max(0.0, told['mutual']):.2f}  (of x and z, N = {told['examples']:,}{full})"
        yield "aggregated KL", f"{most}{told['aggregated_kl']:.2f}  (of q(z) from p(z), same N{full})"
    if latents["prior_gap"] is not None:
        yield "aggregated KL, moments", f"{latents['prior_gap']:.2f}  (of a Gaussian with the moments of q(z), from p(z))"
    near = numbers["reconstructions"]
    looks = "" if near["psnr"] is None else f"; PSNR {near['psnr']:.1f} dB"
    looks += "" if near["ssim"] is None else f", SSIM {near['ssim']:.3f} (window {near['ssim_window']})"
    yield "squared error", f"{near['mse']:.4f} a number  (the mean example has {near['variance']:.4f}){looks}"
    probe = numbers["probe"]
    if probe is not None:
        yield "linear probe", f"{probe['accuracy']:.1%} of labels from codes  (the commonest class: {probe['commonest']:.1%})"
    if numbers["factors"] is not None:
        scores = ", ".join(f"{name.replace('_', '-')} {value:.2f}" for name, value in numbers["factors"].items())
        yield "factors", scores
    near = numbers["fidelity"]
    if near is not None:
        for name in ("samples", "reconstructions", "real"):
            made = near[name]
            shares = f"precision {made['precision']:.2f}, recall {made['recall']:.2f}"
            yield f"{name} to data", f"Fréchet distance {made['frechet']:.2f}, {shares}"
        about = f"{near['classifier']}, {near['accuracy']:.1%} right; n = {near['n']:,}"
        yield "  in the features of", about
    yield "examples", f"{numbers['examples']:,} of {numbers['data']}, test"


def _likelihood(numbers: dict[str, Any], pseudo: str) -> Iterator[tuple[str, str]]:
    error, bits = numbers["nll_standard_error"], numbers["bits_per_dim"]
    spread = "" if error is None else f" ± {error:.2f}"
    what = f"importance-weighted {'average' if pseudo else 'bound'}, k = {numbers['k']:,}, n = {numbers['nll_examples']:,}"
    yield "negative log-likelihood", f"{numbers['nll']:.2f}{spread}  ({what}){pseudo}"
    if bits is not None:
        yield "  in bits per dimension", f"{bits:.3f}"


def classifier(
    arguments: Annotated[
        list[str], typer.Argument(metavar="DATA [data.OPTION=VALUE]...", help="A labelled data set, prepared as for the model.")
    ],
    epochs: Annotated[int, typer.Option(help="Passes over the training set.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="What the weights depend on.", min=0, max=2**32 - 1)] = 0,
    data_root: models.DataRoot = None,
    as_json: Json = False,
) -> None:
    """Train a small classifier and store it: `vaekit evaluate` then compares samples with data in its features."""
    from vaekit.data.prepare import load
    from vaekit.data.transform import DataOptions
    from vaekit.evaluation import classifier as classifiers

    asked = overrides.parse(arguments)
    if asked.source is None:
        raise ConfigError("which data set? vaekit classifier mnist")
    if asked.parts:
        raise ConfigError(f"a classifier has no {min(asked.parts)}: give a data set and options of it")
    trained = classifiers.train(load(asked.source, DataOptions(**asked.data), data_root), epochs, seed=seed)
    if as_json:
        show.document({"name": trained.name, "accuracy": trained.accuracy})
    else:
        typer.echo(f"{trained.name}  {trained.accuracy:.2%} of test labels right")

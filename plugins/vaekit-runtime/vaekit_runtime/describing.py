"""What exported files say of themselves, as a table or as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import typer

from vaekit_runtime.errors import short
from vaekit_runtime.files import load
from vaekit_runtime.metadata import Metadata, Value


def show(exported: Path, as_json: bool) -> None:
    """Print it; nothing is computed.

    Raises:
        ModelError: where the files are missing or cannot be trusted.
    """
    described = {part: file.metadata for part, file in load(exported).items()}
    if as_json:
        documents = {part: metadata.document for part, metadata in described.items()}
        typer.echo(json.dumps(documents, indent=2, allow_nan=False))  # in ASCII, which a terminal can be trusted with
        return
    rows = [*_model(next(iter(described.values()))), *(row for each in described.values() for row in _part(each))]
    width = max(len(name) for name, _ in rows)
    for name, said in rows:
        typer.echo(f"{name.ljust(width)}  {said}".rstrip())


def _model(metadata: Metadata) -> Iterator[tuple[str, str]]:
    data, latent, prior, context = metadata.data, metadata.latent, metadata.prior, metadata.context
    yield "name", metadata.name
    if metadata.source:
        yield "source", metadata.source
    yield "digest", metadata.digest
    binary = "" if data.binarize == "none" else f", binarised ({data.binarize})"
    yield "data", f"{data.name} {data.shape}{binary}".strip()
    yield "latent", f"{latent.name} {latent.shape}, {latent.support}"
    yield "prior", f"{prior.name}, {'standard normal' if prior.standard else f'{prior.draws:,} draws in {prior.file}'}"
    if context is not None:
        yield "context", f"{context.name} ({context.width},){'' if context.count is None else f', {context.count:,} classes'}"
    classes = (context.classes if context else ()) or data.classes
    if classes:
        yield "classes", short(", ".join(classes), 300)
    versions = metadata.document["versions"]
    yield "made with", ", ".join(f"{package} {version}" for package, version in versions.items())


def _part(metadata: Metadata) -> Iterator[tuple[str, str]]:
    parity = metadata.document["parity"]
    real = "" if parity["real"] is None else f", {parity['real']:.1e} on data"
    yield metadata.part, f"{metadata.precision}, at most {parity['random']:.1e} from the model on random inputs{real}"
    for values, which in ((metadata.inputs, "takes"), (metadata.outputs, "gives")):
        for value in values:
            yield f"  {which} {value.name}", _value(value)


def _value(value: Value) -> str:
    low, high = value.range or (None, None)
    ends = f"from {'-∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}" if value.range else ""
    shape = f"({', '.join(map(str, ('N', *value.shape)))})"
    return ", ".join(filter(None, (shape, ends, value.units, value.meaning)))

"""What an exported file says of its model, read strictly."""

from dataclasses import dataclass
from typing import Any, Literal

from vaekit_runtime import strictjson
from vaekit_runtime.fields import Fields, Range, Rows, Shape

FORMAT = 1
"""The newest version of the format that is read."""
PRIOR = "prior.npz"


@dataclass(frozen=True)
class Value:
    """An input or an output.

    Args:
        name: as the file calls it.
        shape: of one example, without the batch.
        range: its least and greatest value, None for one that it has not; None where it has no bounds.
        units: of the values.
        padding: whether sequences may end in steps of NaN, so that several lengths are one batch.
        meaning: in words.
    """

    name: str
    shape: Shape
    range: Range | None
    units: str
    padding: bool
    meaning: str


@dataclass(frozen=True)
class Data:
    """What the model was trained on.

    Args:
        name: of the data set.
        shape: of one example.
        range: as of a Value.
        units: of the values.
        binarize: how they were made binary: `none`, `threshold`, `fixed` or `dynamic`.
        classes: the names of the classes; may be empty.
    """

    name: str
    shape: Shape
    range: Range | None
    units: str
    binarize: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Latent:
    """The codes.

    Args:
        name: of the latent.
        shape: of one code.
        support: where codes live: `real`, `sphere`, `ball`, `simplex` or `codes`.
    """

    name: str
    shape: Shape
    support: str


@dataclass(frozen=True)
class Prior:
    """What codes are drawn from.

    Args:
        name: of the prior.
        standard: whether it is standard normal.
        file: that draws from it are in, where it is not.
        draws: how many.
    """

    name: str
    standard: bool
    file: str | None
    draws: int


@dataclass(frozen=True)
class Context:
    """What the model is told besides x.

    Args:
        name: of the context.
        width: of c.
        classes: the names of the classes that y is one of; may be empty.
        rows: c for each class, `one-hot` where they are the rows of the unit matrix; None where y is no class.
    """

    name: str
    width: int
    classes: tuple[str, ...]
    rows: Rows | None

    @property
    def count(self) -> int | None:
        """How many classes there are; None where y is no class."""
        return None if self.rows is None else self.width if self.rows == "one-hot" else len(self.rows)


@dataclass(frozen=True)
class Metadata:
    """What one file says.

    Args:
        part: `encode` or `decode`.
        precision: of the weights.
        name: what people call the model.
        source: where it is published, or "".
        digest: of its weights, the same in all files of one model.
        inputs: x or z, and c of a conditional model.
        outputs: the code and perhaps its std, or the mean.
        data: that it was trained on.
        latent: of it.
        prior: of it.
        context: of it; None where it is told nothing.
        document: all of it as it stands there, with the config, the parity and the versions.
    """

    part: Literal["encode", "decode"]
    precision: str
    name: str
    source: str
    digest: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    data: Data
    latent: Latent
    prior: Prior
    context: Context | None
    document: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """config.json of the model."""
        config: dict[str, Any] = self.document["config"]
        return config


def parse(text: bytes) -> Metadata:
    """The metadata of a file, every field that is used checked; those of later versions that are not known are let be.

    Raises:
        ValueError: saying what is wrong.
    """
    fields = Fields(strictjson.loads(text))
    version = fields.whole("vaekit", 1, 10**6)
    if version > FORMAT:
        raise ValueError(f"format {version} is newer than is read here ({FORMAT}): pip install --upgrade vaekit-runtime")
    part: Literal["encode", "decode"] = "encode" if fields.choice("part", "encode", "decode") == "encode" else "decode"
    data, latent, context = _data(fields.inner("data")), _latent(fields.inner("latent")), _context(fields)
    told: dict[str, Shape | None] = {} if context is None else {"c": (context.width,)}
    inputs: dict[str, Shape | None]
    outputs: dict[str, Shape | None]
    if part == "encode":
        inputs, outputs = {"x": data.shape, **told}, {"code": latent.shape, "std": None}
    else:
        inputs, outputs = {"z": latent.shape, **told}, {"mean": data.shape}
    _look_over(fields)
    return Metadata(
        part=part,
        precision=fields.choice("precision", "float32", "float16", "int8"),
        name=fields.text("name"),
        source=fields.text("source"),
        digest=fields.text("digest"),
        inputs=_values(fields, "inputs", inputs, len(inputs)),
        outputs=_values(fields, "outputs", outputs, 1),
        data=data,
        latent=latent,
        prior=_prior(fields.inner("prior")),
        context=context,
        document=fields.value,
    )


def _values(fields: Fields, key: str, allowed: dict[str, Shape | None], least: int) -> tuple[Value, ...]:
    """The inputs or outputs: those allowed in their order, all of them or the first so many; None for any shape."""
    items = fields.inners(key, len(allowed))
    if len(items) < least:
        raise ValueError(f"{key} must be {', '.join(list(allowed)[:least])}, and are {len(items)}")
    return tuple(_value(item, name, allowed[name]) for item, name in zip(items, allowed, strict=False))


def _value(fields: Fields, name: str, wanted: Shape | None) -> Value:
    shape = fields.shape("shape", before=["batch"])
    if wanted is not None and shape != wanted:
        raise ValueError(f"{fields.name}.shape is {('batch', *shape)}, and {name} is of {('batch', *wanted)}")
    fields.choice("dtype", "float32")
    return Value(
        fields.choice("name", name),
        shape,
        fields.range("range"),
        fields.text("units"),
        fields.flag("padding"),
        fields.text("meaning", 1000),
    )


def _data(fields: Fields) -> Data:
    return Data(
        fields.text("name"),
        fields.shape("shape"),
        fields.range("range"),
        fields.text("units"),
        fields.choice("binarize", "none", "threshold", "fixed", "dynamic"),
        fields.texts("classes"),
    )


def _latent(fields: Fields) -> Latent:
    return Latent(fields.text("name"), fields.shape("shape"), fields.text("support"))


def _prior(fields: Fields) -> Prior:
    prior = Prior(
        fields.text("name"),
        fields.flag("standard"),
        None if fields.any("file") is None else fields.choice("file", PRIOR),
        fields.whole("draws", 0, 10**6),
    )
    if prior.file is not None and (prior.standard or not prior.draws):
        raise ValueError(f"{fields.name}.file is of a prior that is not standard normal, with one draw or more")
    return prior


def _context(fields: Fields) -> Context | None:
    if fields.any("context") is None:
        return None
    inner = fields.inner("context")
    width = inner.whole("width", 1, 65_536)
    context = Context(inner.text("name"), width, inner.texts("classes"), inner.rows("rows", width))
    named = len(context.classes) or (0 if context.rows == "one-hot" else context.count)
    if context.count is not None and not 0 < context.count == named:
        raise ValueError(f"context.rows are {context.count}, and context.classes {len(context.classes)}")
    return context


def _look_over(fields: Fields) -> None:
    """Check what is handed on as it stands."""
    parity = fields.inner("parity")
    parity.number("random")
    if parity.any("real") is not None:
        parity.number("real")
    parity.whole("examples", 0, 10**12)
    versions = fields.inner("versions")
    for package in versions.value:
        versions.text(package)
    data = Fields(fields.inner("config").value.get("data") or {}, "config.data")
    if data.value.get("crop") is not None:
        data.whole("crop", 1, 65_536)

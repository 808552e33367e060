"""What `vaekit predict` does: reads inputs a batch at a time, computes, and writes what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaekit_runtime import writing
from vaekit_runtime.errors import InputError
from vaekit_runtime.files import PARTS, there
from vaekit_runtime.metadata import PRIOR
from vaekit_runtime.predictor import Predictor
from vaekit_runtime.reading import Batches

NEEDS = {"encode": ("encode",), "decode": ("decode",), "reconstruct": ("encode", "decode"), "sample": ("decode",)}
"""The parts that each needs."""


@dataclass(frozen=True)
class Sampling:
    """What is asked of samples; None where nothing is.

    Args:
        n: how many; 64 unless asked.
        temperature: of the prior; 1 unless asked.
        seed: what they depend on; 0 unless asked.
    """

    n: int | None
    temperature: float | None
    seed: int | None


def run(
    exported: Path,
    inputs: Sequence[Path],
    what: str | None,
    sampling: Sampling,
    label: str | None,
    output: Path | None,
    batch_size: int,
    threads: int | None,
) -> None:
    """Do what was asked, or what the inputs leave as the only sensible thing.

    Raises:
        PredictError: saying what is wrong; nothing is written then.
    """
    predictor = None if exported.is_dir() else Predictor(exported, threads)
    what = what or _sensible(there(exported) if predictor is None else predictor.parts, inputs)
    _check(what, inputs, sampling)
    predictor = predictor or Predictor(exported, threads, NEEDS[what])
    n, seed = sampling.n or 64, sampling.seed or 0
    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    name = f"sample-seed{seed}{_file_name(label)}" if what == "sample" else what
    target = writing.target(output, name, None if what == "encode" else predictor.data_shape, [*inputs, *_files(exported)])
    if what == "sample":
        writing.images(target, predictor.sample(n, label, temperature, seed))
        return
    batches = Batches(predictor, inputs, batch_size, codes=what == "decode")
    if what == "encode":
        made = np.concatenate([predictor.encode(x, label) for x in batches])
        writing.codes(target, batches.names, made)
    elif what == "decode":
        writing.images(target, np.concatenate([predictor.decode(z, label) for z in batches]))
    else:
        pairs = [(x, predictor.reconstruct(x, label)) for x in batches]
        below = np.concatenate([after for _, after in pairs])
        writing.images(target, below, above=np.concatenate([before for before, _ in pairs]))


def _files(exported: Path) -> list[Path]:
    """What must not be written over."""
    return [exported / name for name in (*(f"{part}.onnx" for part in PARTS), PRIOR)] if exported.is_dir() else [exported]


def _sensible(parts: tuple[str, ...], inputs: Sequence[Path]) -> str:
    """What is meant where nobody says it."""
    if not inputs:
        return "encode" if parts == ("encode",) else "sample"
    return "decode" if parts == ("decode",) else "encode"


def _check(what: str, inputs: Sequence[Path], sampling: Sampling) -> None:
    """Whether what is asked goes together."""
    if what == "sample" and inputs:
        raise InputError(f"sample takes no inputs, and {inputs[0]} was given: leave them out, or choose another --what")
    if what != "sample" and not inputs:
        raise InputError(f"{what} needs inputs: name image files, or arrays as .npy or .npz")
    for option, value in (("-n", sampling.n), ("--temperature", sampling.temperature), ("--seed", sampling.seed)):
        if what != "sample" and value is not None:
            raise InputError(f"{option} is for sample, and this is {what}: leave it out")


def _file_name(label: str | None) -> str:
    """A label as part of a file's name."""
    return "" if label is None else "-" + "".join(c if c.isalnum() else "-" for c in label)[:40]

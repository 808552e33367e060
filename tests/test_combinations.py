"""Every part with every other: what is installed works together, or is refused for a reason that docs/parts.md lists.

The full product where it is small, else rows in which every two values that can stand together do so at least once.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from pathlib import Path
from random import Random

import pytest
import torch

import vaekit
from vaekit import registry
from vaekit.config import DEFAULTS
from vaekit.plugins import plugins

Row = dict[str, str]

ROOT = Path(__file__).parents[1]
OURS = {"vaekit", *(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))}
SECTION = "## What does not combine"
FULL = 500
"""The most rows that a full product may have."""
DATA = {"image": (3, 7, 5), "sequence": (6, 4), "vector": (5,)}
SMALL = {
    ("context", "labels"): {"classes": 4},
    ("encoder", "conv"): {"width": 4},
    ("encoder", "lstm"): {"hidden": 8, "dense": [8]},
    ("encoder", "mlp"): {"hidden": [8]},
    ("encoder", "resnet"): {"width": 4},
    ("encoder", "vit"): {"width": 8, "layers": 1, "heads": 2},
    ("latent", "categorical"): {"variables": 2, "classes": 3},
    ("latent", "flow"): {"features": 3, "depth": 2, "hidden": [8]},
    ("latent", "fsq"): {"levels": [3, 2], "positions": 2},
    ("latent", "full-gaussian"): {"features": 3},
    ("latent", "gaussian"): {"features": 3},
    ("latent", "grid-gaussian"): {"channels": 2, "height": 2, "width": 2},
    ("latent", "hyperspherical"): {"features": 3},
    ("latent", "joint"): {"features": 2, "classes": 3},
    ("latent", "ladder"): {"features": [2, 3], "hidden": 8},
    ("latent", "poincare"): {"features": 3},
    ("latent", "point"): {"features": 3},
    ("latent", "residual-vq"): {"quantizers": 2, "codes": 8, "width": 3, "positions": 2},
    ("latent", "vq"): {"codes": 8, "width": 3, "positions": 2},
    ("prior", "flow"): {"depth": 2, "hidden": [8]},
    ("prior", "mixture"): {"components": 3},
    ("prior", "transformer"): {"layers": 1, "heads": 1, "width": 8},
    ("prior", "vamp"): {"components": 3},
    ("decoder", "lstm"): {"hidden": 8},
    ("decoder", "mlp"): {"hidden": [8]},
    ("decoder", "resnet"): {"width": 4},
    ("decoder", "spatial-broadcast"): {"width": 4, "depth": 2},
    ("decoder", "transposed-conv"): {"width": 4},
    ("likelihood", "categorical"): {"levels": 7},
    ("likelihood", "discretized-logistic"): {"levels": 7},
    ("likelihood", "discretized-logistic-mixture"): {"levels": 7, "components": 2},
    ("likelihood", "pixelcnn"): {"width": 4, "depth": 1, "kernel": 3},
    ("loss", "ciwae"): {"samples": 3},
    ("loss", "dreg"): {"samples": 3},
    ("loss", "factor"): {"hidden": [8]},
    ("loss", "miwae"): {"groups": 2, "samples": 3},
    ("loss", "piwae"): {"groups": 2, "samples": 3},
    ("loss", "vae-gan"): {"width": 4, "hidden": [8]},
    ("loss", "wae-gan"): {"hidden": [8]},
}
"""Options of the parts that are large without them."""


@dataclass(frozen=True)
class Refusal:
    """Values that do not stand together, the part that refuses first; words of its error; and why."""

    values: tuple[tuple[str, str], ...]
    says: str
    why: str

    def __str__(self) -> str:
        return "+".join(value for _, value in self.values)

    def within(self, row: Row) -> bool:
        return all(row.get(factor) == value for factor, value in self.values)

    def explains(self, error: Exception) -> bool:
        kind, name = self.values[0]
        return str(error).startswith(f"{kind} {name!r}") and self.says in str(error)


def covering(factors: dict[str, list[str]], allowed: Callable[[Row], bool], strength: int = 2) -> list[Row]:
    """A few allowed rows that hold every pair of values that allowed rows can hold; found by greed, always the same.

    Args:
        factors: the values of each.
        allowed: whether a row may be, perhaps with values still missing; more values never help.
        strength: 2 for pairs, 1 for single values.
    """
    items = [[(factor, value) for value in factors[factor]] for factor in factors]
    missing = {frozenset(found): None for some in combinations(items, strength) for found in product(*some)}

    def gain(row: Row, item: tuple[str, str]) -> int:
        return sum(frozenset((item, *others)) in missing for others in combinations(row.items(), strength - 1))

    def completed(row: Row) -> Row | None:
        """The row with a value of every factor: first of those that it constrains, then of those that bring most."""
        left = {f: [v for v in factors[f] if allowed({**row, f: v})] for f in factors if f not in row}
        if not left:
            return row
        if not all(left.values()):
            return None
        gains = {f: {v: gain(row, (f, v)) for v in left[f]} for f in left}
        factor = min(left, key=lambda f: (len(left[f]) == len(factors[f]), -max(gains[f].values())))
        for value in sorted(left[factor], key=lambda v: (-gains[factor][v], -wanted[factor, v])):
            if whole := completed({**row, factor: value}):
                return whole
        return None

    rows: list[Row] = []
    while missing:
        wanted = Counter(item for found in missing for item in found)
        start = max(missing, key=lambda found: sum(wanted[item] for item in found))
        row = completed(dict(start)) if allowed(dict(start)) else None
        if row:
            rows.append({factor: row[factor] for factor in factors})
            for found in combinations(row.items(), strength):
                missing.pop(frozenset(found), None)
        else:
            del missing[start]
    return rows


def _factors() -> dict[str, list[str]]:
    factors: dict[str, list[str]] = {"data": list(DATA), **{kind: [] for kind in DEFAULTS}}
    for part in registry.list():
        origin = plugins().origin(part)
        if origin and origin.package in OURS:
            factors[part.kind].append(part.name)
    return factors


def _refusals() -> list[Refusal]:
    """The table in docs/parts.md, with a Refusal for each choice among names that commas divide."""
    page = (ROOT / "docs/parts.md").read_text(encoding="utf-8")
    section = page.partition(f"\n{SECTION}\n")[2].partition("\n## ")[0]
    refusals = []
    for line in [line for line in section.splitlines() if line.startswith("|")][2:]:
        part, others, says, why = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        sides = [side.split(" ", 1) for side in (part, *others.split(" + "))]
        for values in product(*([(factor, name) for name in names.split(", ")] for factor, names in sides)):
            refusals.append(Refusal(values, says.strip("`"), why))
    return refusals


FACTORS = _factors()
REFUSALS = _refusals()
BY_PART = {(kind, name): [r for r in REFUSALS if r.values[0] == (kind, name)] for kind in FACTORS for name in FACTORS[kind]}


def _listed(row: Row) -> list[Refusal]:
    return [refusal for value in row.items() for refusal in BY_PART.get(value, ()) if refusal.within(row)]


def _alone(refusal: Refusal) -> list[Row]:
    """Rows that nothing else forbids, with every value of the other factors."""
    factors = {**FACTORS, **{factor: [value] for factor, value in refusal.values}}
    return covering(factors, lambda row: _listed(row) in ([], [refusal]), strength=1)


def _rows(most: int = FULL) -> list[Row]:
    if prod(map(len, FACTORS.values())) <= most:
        return [dict(zip(FACTORS, values, strict=True)) for values in product(*FACTORS.values())]
    works = covering(FACTORS, lambda row: not _listed(row))
    return works + [row for refusal in REFUSALS for row in _alone(refusal)]


ROWS = _rows()


def _build(row: Row) -> tuple[vaekit.VAE, vaekit.Loss]:
    specs = {kind: {"name": row[kind], **SMALL.get((kind, row[kind]), {})} for kind in DEFAULTS}
    return vaekit.build(vaekit.Config(data_shape=DATA[row["data"]], **specs))


def _step(model: vaekit.VAE, loss: vaekit.Loss) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A step of every player, by some data that it gives back."""
    n = 4
    x = model.likelihood(torch.randn(n, *model.likelihood.in_shape)).sample()
    y = model.context.sample(n)
    for player, parameters in loss.players(model).items():
        model.zero_grad()
        loss.zero_grad()
        terms = loss(model, x, model.context(y, n), player)
        assert all(term.isfinite() for term in (terms.loss, *terms.parts.values()))
        terms.loss.backward()
        for parameter in parameters:
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
    return x, y


@pytest.mark.filterwarnings("ignore:likelihood 'pixelcnn' has no mean in closed form")
@pytest.mark.parametrize("row", [row for row in ROWS if not _listed(row)], ids=lambda row: "+".join(row.values()))
def test_what_combines(row: Row, tmp_path: Path) -> None:
    try:
        model, loss = _build(row)
    except (vaekit.ShapeError, vaekit.ConfigError) as error:
        raise AssertionError(f"docs/parts.md, {SECTION}, does not list this") from error
    shape = DATA[row["data"]]
    x, y = _step(model, loss)
    n = len(x)
    assert x.shape == (n, *shape)
    assert model.likelihood.support.check(x).all()
    model.eval()
    loaded = vaekit.load(model.save(tmp_path))
    for made, again, wanted in (
        (model.sample(2, seed=0), loaded.sample(2, seed=0), (2, *shape)),
        (model.encode(x, y), loaded.encode(x, y), (n, *model.latent.out_shape)),
        (model.reconstruct(x, y), loaded.reconstruct(x, y), (n, *shape)),
    ):
        assert made.shape == wanted
        assert made.isfinite().all()
        assert made.equal(again)


@pytest.mark.parametrize("row", [row for row in ROWS if _listed(row)], ids=lambda row: "+".join(row.values()))
def test_what_does_not_combine(row: Row) -> None:
    with pytest.raises((vaekit.ShapeError, vaekit.ConfigError)) as refused:
        _step(*_build(row))
    reasons = [refusal for refusal in _listed(row) if refusal.explains(refused.value)]
    assert reasons, f"docs/parts.md, {SECTION}, does not list this: {refused.value}"


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_a_refusal_is_needed(refusal: Refusal) -> None:
    """Some combination is refused for this and nothing else, as is tested above."""
    assert any(_listed(row) == [refusal] for row in ROWS)
    assert refusal.why


def _together(rows: list[Row], strength: int = 2) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(some) for row in rows for some in combinations(row.items(), strength)}


def test_the_pairs_stand_for_the_product() -> None:
    rows = _rows(most=0)
    works = [row for row in rows if not _listed(row)]
    assert _together(works) == _together([row for row in ROWS if not _listed(row)])
    assert {refusal for row in rows for refusal in _listed(row)} == set(REFUSALS)


@pytest.mark.parametrize("strength", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_covering_finds_what_the_product_has(seed: int, strength: int) -> None:
    random = Random(seed)
    factors = {factor: [f"{factor}{i}" for i in range(random.randint(1, 4))] for factor in "abcde"}
    forbidden = [
        {factor: random.choice(factors[factor]) for factor in random.sample("abcde", random.randint(1, 3))}
        for _ in range(random.randint(0, 12))
    ]

    def allowed(row: Row) -> bool:
        return not any(some.items() <= row.items() for some in forbidden)

    everything = [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]
    rows = covering(factors, allowed, strength)
    assert all(row in everything and allowed(row) for row in rows)
    assert _together(rows, strength) == _together([row for row in everything if allowed(row)], strength)


def test_covering_of_many_parts_is_short() -> None:
    """Some three million combinations, where kinds 3 and 4 go together by thirds, and half of kind 2 needs the first data."""
    sizes = (3, 6, 10, 7, 6, 12, 12, 3)

    def allowed(row: Row) -> bool:
        data, encoder, latent, prior = (int(row[k][1:]) if k in row else None for k in "0234")
        by_thirds = latent is None or prior is None or latent % 3 == prior % 3
        return by_thirds and (not data or encoder is None or encoder < 5)

    def rows(letter: str) -> list[Row]:
        return covering({str(k): [f"{letter}{i}" for i in range(size)] for k, size in enumerate(sizes)}, allowed)

    found = rows("a")
    items = [[(str(k), f"a{i}") for i in range(size)] for k, size in enumerate(sizes)]
    pairs = [dict(pair) for two in combinations(items, 2) for pair in product(*two)]
    assert all(map(allowed, found))
    assert _together(found) == _together([pair for pair in pairs if allowed(pair)])
    assert len(found) <= 1.6 * 12 * 12
    renamed = [{k: value.replace("b", "a") for k, value in row.items()} for row in rows("b")]
    assert found == renamed, "the rows depend on how values hash, which is by chance"

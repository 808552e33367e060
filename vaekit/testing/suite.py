"""The checks of a part or a data set, one by one."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vaekit.blocks import drawing
from vaekit.data.catalog import DataSet
from vaekit.errors import ConfigError, suggestion
from vaekit.parts import Part
from vaekit.shapes import Shape
from vaekit.testing import behaviour, datasets, declared, densities, ends, exports, latents, losses
from vaekit.testing.benches import SHAPES
from vaekit.testing.case import Case
from vaekit.testing.datasets import DataCase
from vaekit.testing.outcomes import CheckFailed, NotApplicable

if TYPE_CHECKING:
    import pytest

Checked = type[Part] | DataSet
_Function = Callable[[Any], None]


@dataclass(frozen=True)
class Check:
    """One check of one part; calling it makes it.

    Args:
        name: such as `kl-matches-monte-carlo`.
        about: what it asks, in a sentence.
        part: the part, with its options where they are not the defaults.
        expected: why it is expected to fail; empty where it is not.
    """

    name: str
    about: str
    part: str
    expected: str
    function: _Function
    case: Case | DataCase

    def __call__(self) -> None:
        """Make the check; its draws depend on nothing and leave torch's generator as it was.

        Raises:
            CheckFailed: saying what is wrong and what to do.
            NotApplicable: where it cannot be made here.
        """
        self.case.at = ""
        try:
            with drawing(0, torch.device("cpu")), _one_thread():
                self.function(self.case)
        except NotApplicable:
            raise
        except Exception as error:
            where = f"{self.case.at}: " if self.case.at else ""
            what = "" if isinstance(error, CheckFailed) else f"{type(error).__name__}: "
            raise CheckFailed(f"{where}{what}{error}") from error

    def __str__(self) -> str:
        return f"{self.part}-{self.name}"


def checks_for(
    part: Checked,
    options: Mapping[str, Any] | None = None,
    *,
    shapes: Iterable[Shape] = SHAPES,
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """The checks of a part or a data set.

    Args:
        part: the class, or the DataSet.
        options: where they are not the defaults; for a data set that takes a path, `path`.
        shapes: of the data that the part is tried on; those that it refuses with a ShapeError are left out.
        expected_failures: names of checks with reasons, in place of what the part itself declares.

    Raises:
        ConfigError: where what is given is neither a part nor a data set.
    """
    case: Case | DataCase
    own: Any = {}
    if isinstance(part, DataSet):
        case, kind, name = DataCase(part, options), "dataset", part.name
    elif isinstance(part, type) and issubclass(part, Part) and getattr(part, "kind", None) in KINDS:
        case, kind, name = Case(part, options, tuple(shapes)), part.kind, getattr(part, "name", part.__name__)
        own = part.expected_failures
    else:
        raise ConfigError(f"{part!r} is neither a part nor a data set: give the class, or the DataSet")
    functions = {_name(function): function for function in KINDS[kind]}
    stated = own if expected_failures is None else expected_failures
    wrong = _wrong(stated, functions)
    expected = {} if wrong else dict(stated)
    functions = {"expected-failures": _failing(wrong), **functions} if wrong else functions
    said = ", ".join(f"{option}={value}" for option, value in (options or {}).items())
    for check, function in functions.items():
        about = (function.__doc__ or "").partition("\n")[0]
        yield Check(check, about, f"{kind} {name}{f'({said})' if said else ''}", expected.get(check, ""), function, case)


def parametrize_with_checks(
    parts: Iterable[Checked | tuple[Checked, Mapping[str, Any]]],
    *,
    shapes: Iterable[Shape] = SHAPES,
    expected_failures: Mapping[str, str] | None = None,
    without: Collection[str] = (),
) -> "pytest.MarkDecorator":
    """Decorate a test that takes a `check` and calls it: one test for each check of each part.

    Args:
        parts: classes or DataSets; or pairs of one and its options.
        shapes: of the data that the parts are tried on.
        expected_failures: names of checks with reasons, in place of what the parts themselves declare.
        without: names of checks that are not made: where options are tried that they do not depend on, say.

    Raises:
        ConfigError: where there is no such check to leave out.
    """
    import pytest

    found = []
    known = {_name(function) for functions in KINDS.values() for function in functions}
    for name in without:
        if name not in known:
            raise ConfigError(f"there is no check {name!r} to leave out{suggestion(name, known)}")
    for item in parts:
        part, options = item if isinstance(item, tuple) else (item, None)
        for check in checks_for(part, options, shapes=shapes, expected_failures=expected_failures):
            if check.name in without:
                continue
            expected = pytest.mark.xfail(reason=check.expected, raises=CheckFailed, strict=True)
            found.append(pytest.param(_skipping(check), id=str(check), marks=[expected] if check.expected else []))
    return pytest.mark.parametrize("check", found)


def _wrong(stated: Any, functions: Mapping[str, _Function]) -> str:
    """What is wrong with the failures that are expected; nothing where all is well."""
    if not isinstance(stated, Mapping):
        return f"expected_failures is {stated!r}: write a mapping from names of checks to reasons"
    for name, why in stated.items():
        if name not in functions:
            return f"expected_failures names {name!r}, and there is no such check{suggestion(str(name), functions)}"
        if not isinstance(why, str) or not why.strip():
            return f"expected_failures gives no reason for {name!r}: say why it cannot hold"
    return ""


def _failing(why: str) -> _Function:
    def check(case: Any) -> None:
        """Failures are expected of checks that there are, each for a reason."""
        raise CheckFailed(why)

    return check


def _skipping(check: Check) -> Callable[[], None]:
    """The check, for pytest: one that cannot be made here is skipped."""

    def run() -> None:
        import pytest

        try:
            check()
        except NotApplicable as reason:
            pytest.skip(str(reason))

    return run


@contextmanager
def _one_thread() -> Iterator[None]:
    """A block in which torch uses one thread: on parts this small more gain nothing, and on a busy machine they wait long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _name(function: _Function) -> str:
    return function.__name__.removeprefix("check_").replace("_", "-")


_ALL: tuple[_Function, ...] = (
    declared.check_registers,
    declared.check_docstring,
    behaviour.check_takes_shapes,
    declared.check_options_are_json,
    declared.check_bounds,
    declared.check_spec_rebuilds,
    behaviour.check_float64,
    behaviour.check_bf16_autocast,
    behaviour.check_gradients,
    behaviour.check_deterministic,
    behaviour.check_saves,
    declared.check_builds_on_meta,
    declared.check_tensors_are_registered,
    behaviour.check_changes_no_global_state,
    declared.check_imports_cleanly,
    declared.check_compiles,
)
_BY_ROW: tuple[_Function, ...] = (*_ALL, behaviour.check_rows_are_independent)

KINDS: dict[str, tuple[_Function, ...]] = {
    "context": (*_BY_ROW, ends.check_what_it_samples_it_takes, ends.check_y_matters),
    "encoder": (*_BY_ROW, exports.check_exports, ends.check_x_matters, ends.check_c_matters),
    "latent": (
        *_BY_ROW,
        exports.check_exports,
        latents.check_h_matters,
        latents.check_kl_matches_monte_carlo,
        latents.check_draws_come_from_the_posterior,
        latents.check_trains_as_it_generates,
        latents.check_descends_as_it_trains,
        latents.check_generates,
        latents.check_code_is_deterministic,
    ),
    "prior": (*_BY_ROW, densities.check_prior_is_normalised),
    "decoder": (*_BY_ROW, exports.check_exports, ends.check_z_matters, ends.check_c_matters),
    "likelihood": (
        *_BY_ROW,
        exports.check_exports,
        densities.check_likelihood_is_normalised,
        densities.check_mean_matches_samples,
        densities.check_half_precision_is_promoted,
    ),
    "loss": (
        *_ALL,
        losses.check_terms_are_finite,
        losses.check_parts_are_in_nats,
        losses.check_players_are_disjoint,
        losses.check_batch_doubling,
        losses.check_overfits_eight_points,
    ),
    "dataset": (
        datasets.check_is_named,
        datasets.check_splits,
        datasets.check_labels,
        datasets.check_loads_the_same_twice,
        datasets.check_trains,
        datasets.check_loading_changes_no_global_state,
        datasets.check_absent_data,
    ),
}
"""The checks by kind, in the order in which they are made."""

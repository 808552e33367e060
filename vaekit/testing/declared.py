"""What every part is held to in what it says of itself: options, wiring, tensors, docstring, module."""

import json
import re
from contextlib import suppress

import torch
from torch import Tensor, nn

from vaekit.config import as_spec
from vaekit.contract import check_part
from vaekit.errors import ConfigError, ShapeError
from vaekit.schema import options, validate
from vaekit.testing import fresh
from vaekit.testing.case import Case, require
from vaekit.testing.corners import corners
from vaekit.testing.outcomes import NotApplicable


def check_registers(case: Case) -> None:
    """It can be registered: one interface, a legal name, the wiring of its kind, bounded JSON options."""
    check_part(case.part)


def check_docstring(case: Case) -> None:
    """Its docstring states shapes, units where it scores, each option, and the source."""
    text = case.part.__doc__ or ""
    missing = []
    if "(N" not in text:
        missing.append("states no shapes: say what it takes and gives, as in 'x (N, *in_shape) gives h (N, D)'")
    if case.part.kind in ("likelihood", "loss") and "nats" not in text:
        missing.append("states no unit: scores are in nats per example")
    silent = [option.name for option in options(case.part) if not option.summary]
    if silent:
        missing.append(f"says nothing of {', '.join(silent)}: say what it is under 'Args:'")
    if not re.search(r"\b(1[5-9]|20)\d\d\b|https?://", text.partition("References:")[2]):
        missing.append("has no source: a section 'References:' with title (authors; year), address, equation")
    require(not missing, f"the docstring {'; it '.join(missing)}")


def check_options_are_json(case: Case) -> None:
    """`spec()` is its name and every option, and comes back from JSON as it was."""
    for bench in case.benches():
        spec = bench.part.spec()
        names = [option.name for option in options(case.part)]
        require(list(spec) == ["name", *names], f"spec() has {', '.join(spec)}, not name, {', '.join(names)}")
        again = as_spec(case.part.kind, json.loads(json.dumps(spec, allow_nan=False)))
        require(again == spec, f"spec() is {spec}, and {again} after a trip through JSON")
        given = validate(case.part, {name: value for name, value in again.items() if name != "name"})
        require(
            {name: given[name] for name in case.options} == case.options,
            f"built with {case.options}, it remembers {given}: what it is given is not its own to change",
        )


def check_bounds(case: Case) -> None:
    """Every choice of every option works, and every size at its least and, on the meta device, at its most."""
    wiring = case.few[0]
    for name, value, largest in corners(case.part):
        shown = json.dumps(value)
        case.at = f"{wiring}, option {name} = {shown if len(shown) < 40 else 'as long as it may be'}"
        with suppress(ConfigError, ShapeError):
            at_corner = Case(case.part, {**case.given, name: value})
            if largest:
                with torch.device("meta"):
                    at_corner.part(**wiring.arguments, **at_corner.options)
            else:
                at_corner.bench(wiring).check_shapes(2)


def check_spec_rebuilds(case: Case) -> None:
    """`wiring` and `spec()` rebuild it: the same shapes, the same parameters."""
    for bench in case.benches():
        part = bench.part
        spec = part.spec()
        again = type(part)(**part.wiring, **validate(case.part, {k: v for k, v in spec.items() if k != "name"}))
        require(again.spec() == spec, f"spec() is {spec}, and {again.spec()} once rebuilt")
        require(tuple(again.out_shape) == tuple(part.out_shape), f"out_shape is {part.out_shape}, then {again.out_shape}")
        _require_same_state(part.state_dict(), again.state_dict(), "rebuilt")


def check_builds_on_meta(case: Case) -> None:
    """On the meta device it builds with the same tensors, as loading needs before any memory is taken."""
    for wiring in case.few:
        with torch.device("meta"):
            meta = case.part(**wiring.arguments, **case.options)
        _require_same_state(case.bench(wiring).part.state_dict(), meta.state_dict(), "on the meta device")


def check_tensors_are_registered(case: Case) -> None:
    """Its tensors are parameters or buffers, so that they move with it."""
    for bench in case.benches():
        for path, module in bench.part.named_modules():
            for name, value in vars(module).items():
                if name not in ("_parameters", "_buffers", "_modules"):
                    there = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
                    require(
                        not any(isinstance(item, Tensor) and not isinstance(item, nn.Parameter) for item in there),
                        f"{f'{path}.' if path else ''}{name} is a tensor that would stay on the CPU: register_buffer "
                        f"(with persistent=False where it need not be saved)",
                    )


def check_imports_cleanly(case: Case) -> None:
    """Importing its module, in a fresh process, prints nothing and changes no global state."""
    found = fresh.report(case)
    require(not found.failed, found.failed)
    require(not found.changed, f"importing {case.part.__module__} changes global state: {'; '.join(found.changed)}")
    require(not found.printed, f"importing {case.part.__module__} prints {found.printed[:60]!r}")


def check_compiles(case: Case) -> None:
    """torch.compile takes it as one graph, in a fresh process; or it says `compiles = False`, and why."""
    if not case.part.compiles:
        require(
            re.search(r"compil|graph", case.part.__doc__ or "") is not None,
            "it says compiles = False: the docstring must say why it does not compile",
        )
        return
    found = fresh.report(case)
    require(not found.failed, found.failed)
    if found.untried:
        raise NotApplicable(found.untried)
    require(not found.compiling, f"{found.compiling}; or say compiles = False, and why in the docstring")


def _require_same_state(wanted: dict[str, Tensor], got: dict[str, Tensor], when: str) -> None:
    for name in {**wanted, **got}:
        require(name in got, f"{when} it has no tensor {name}")
        require(name in wanted, f"{when} it has a tensor {name} more")
        require(
            got[name].shape == wanted[name].shape and got[name].dtype == wanted[name].dtype,
            f"{name} is {tuple(wanted[name].shape)} of {wanted[name].dtype}, "
            f"and {when} {tuple(got[name].shape)} of {got[name].dtype}",
        )

"""What every part is held to, whatever its kind."""

import json
import re
from contextlib import suppress

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from vaekit.ambient import Ambient
from vaekit.config import as_spec
from vaekit.contract import check_part
from vaekit.errors import ConfigError, ShapeError
from vaekit.schema import options, validate
from vaekit.testing import fresh
from vaekit.testing.case import Case, cast, require, same, steadily
from vaekit.testing.corners import corners
from vaekit.testing.outcomes import CheckFailed


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


def check_takes_shapes(case: Case) -> None:
    """What comes out has the right shape for data of every shape that it takes, with and without a context."""
    for wiring, error in case.tried:
        if error is not None and not isinstance(error, ShapeError):
            case.at = str(wiring)
            raise CheckFailed(
                f"{type(error).__name__}: {error} (what a part cannot serve it refuses with a ShapeError)"
            ) from error
    require(
        bool(case.accepted),
        f"it takes none of the shapes {', '.join(map(str, case.shapes))}: give shapes that it takes (the last refusal: "
        f"{case.tried[-1][1]})",
    )
    for wiring in case.accepted:
        for training in (True, False):
            bench = case.bench(wiring, training=training)
            for n in (3, 1):
                case.at = f"{wiring}, {'training' if training else 'evaluation'}, {n} example{'s' if n > 1 else ''}"
                bench.check_shapes(n)


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


def check_spec_rebuilds(case: Case) -> None:
    """`wiring` and `spec()` rebuild it: the same shapes, the same parameters."""
    for bench in case.benches():
        part = bench.part
        spec = part.spec()
        again = type(part)(**part.wiring, **validate(case.part, {k: v for k, v in spec.items() if k != "name"}))
        require(again.spec() == spec, f"spec() is {spec}, and {again.spec()} once rebuilt")
        require(tuple(again.out_shape) == tuple(part.out_shape), f"out_shape is {part.out_shape}, then {again.out_shape}")
        _require_same_state(part.state_dict(), again.state_dict(), "rebuilt")


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


def check_float64(case: Case) -> None:
    """In float64 everything that comes out is float64, and near to what float32 gives."""
    for bench in case.benches():
        inputs = bench.inputs(3)
        single = steadily(bench, inputs)
        double = steadily(bench.double(), cast(inputs, torch.float64))
        for name, value in double.items():
            require(
                not value.is_floating_point() or value.dtype == torch.float64,
                f"{name} is {value.dtype} for a part and inputs in float64: make tensors in the dtype of the inputs",
            )
        difference = same(single, double, rtol=1e-2, atol=1e-3)
        require(not difference or not bench.by_row, f"in float64, {difference} from float32")


def check_bf16_autocast(case: Case) -> None:
    """Under bf16 autocast everything is finite and near to float32, and scores are float32."""
    for bench in case.benches(training=True):
        inputs = bench.inputs(4)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = bench(*inputs)
        for name, value in outputs.items():
            require(not value.isnan().any().item(), f"{name} is NaN")
            if name.startswith("log_"):
                require(value.dtype == torch.float32, f"{name} is {value.dtype}: promote what scores, by vaekit.distributions")
        bench.eval()
        full = steadily(bench, inputs)
        with torch.autocast("cpu", torch.bfloat16):
            half = steadily(bench, inputs)
        for name, value in half.items():
            gap = (value.double() - full[name].double()).nan_to_num(0, 0, 0).abs().sum()
            size = full[name].double().nan_to_num(0, 0, 0).abs().sum()
            require(
                bool(gap <= 0.1 * size + 0.01 * value.numel()),
                f"{name} is off by {gap / value.numel():.3g} on the average, where its size is {size / value.numel():.3g}",
            )


def check_gradients(case: Case) -> None:
    """Every parameter gets a finite gradient; so do θ, z and h, through what is drawn."""
    for bench in case.benches(training=True):
        inputs = tuple(i.requires_grad_() if i is not None and i.is_floating_point() else i for i in bench.inputs(4))
        outputs = bench(*inputs)
        weighed = {name: (value * torch.randn_like(value)).sum() for name, value in outputs.items() if value.requires_grad}
        require(bool(weighed) or not list(bench.part.parameters()), "nothing that comes out has a gradient")
        for i in bench.wanted:
            first = next(iter(outputs))
            require(first in weighed, f"{first} has no gradient: draw by rsample, and detach nothing")
            (reaching,) = torch.autograd.grad(weighed[first], inputs[i], retain_graph=True, allow_unused=True)
            require(
                reaching is not None and bool((reaching != 0).any()),
                f"no gradient of {first} reaches the {('first', 'second')[i]} argument",
            )
        if weighed:
            torch.stack(list(weighed.values())).sum().backward()
        for name, parameter in bench.part.named_parameters():
            if parameter.requires_grad:
                require(parameter.grad is not None, f"parameter {name} gets no gradient: use it or leave it out")
                require(bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite")


def check_rows_are_independent(case: Case) -> None:
    """In evaluation an example gives the same alone as among others."""
    for bench in case.benches():
        inputs = bench.inputs(4)
        together = steadily(bench, inputs)
        for row in range(4):
            alone = steadily(bench, tuple(None if i is None else i[row : row + 1] for i in inputs))
            difference = same(alone, {name: value[row : row + 1] for name, value in together.items()})
            require(not difference, f"alone, an example gives something else than among four: {difference}")


def check_deterministic(case: Case) -> None:
    """Everything random comes from torch's generator: the same seed gives the same parameters and the same draws."""
    for wiring in case.few:
        first, second = case.bench(wiring, seed=3, training=True), case.bench(wiring, seed=3, training=True)
        difference = same(dict(first.part.state_dict()), dict(second.part.state_dict()), 0, 0)
        require(not difference, f"built twice from one seed, {difference}")
        inputs = first.inputs(3)
        results = []
        for built in (first, second):
            torch.manual_seed(4)
            with torch.no_grad():
                results.append(built(*inputs))
        difference = same(results[0], results[1], rtol=1e-6, atol=1e-7)
        require(not difference, f"run twice from one seed, {difference}")


def check_saves(case: Case) -> None:
    """Saved as safetensors and loaded strictly into another, it gives the same."""
    for wiring in case.few:
        bench, other = case.bench(wiring, seed=1, training=True), case.bench(wiring, seed=2)
        with torch.no_grad():
            for _ in range(3):
                bench(*bench.inputs(4))
        bench.eval()
        state = {name: tensor.contiguous() for name, tensor in bench.state_dict().items()}
        other.load_state_dict(from_bytes(to_bytes(state)), strict=True)
        inputs = bench.inputs(3)
        difference = same(steadily(other, inputs), steadily(bench, inputs), 1e-6, 1e-7)
        require(
            not difference,
            f"loaded, {difference}: what it computes with belongs in parameters and buffers",
        )


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


def check_compiles(case: Case) -> None:
    """torch.compile takes it as one graph, in a fresh process; or it says `compiles = False`, and why."""
    if not case.part.compiles:
        require(
            re.search(r"compil|graph", case.part.__doc__ or "") is not None,
            "it says compiles = False: the docstring must say why it does not compile",
        )
        return
    failed = fresh.report(case).compiling
    require(not failed, f"{failed}; or say compiles = False, and why in the docstring")


def check_imports_cleanly(case: Case) -> None:
    """Importing its module, in a fresh process, prints nothing and changes no global state."""
    found = fresh.report(case)
    require(not found.changed, f"importing {case.part.__module__} changes global state: {'; '.join(found.changed)}")
    require(not found.printed, f"importing {case.part.__module__} prints {found.printed[:60]!r}")


def check_changes_no_global_state(case: Case) -> None:
    """Building and running it changes no global state but torch's random generator."""
    before = Ambient.now()
    try:
        with torch.random.fork_rng([]):
            for bench in case.benches(training=True):
                for value in bench(*bench.inputs(3)).values():
                    if value.requires_grad:
                        value.sum().backward(retain_graph=True)
                steadily(bench.eval(), bench.inputs(3))
        changed = [str(change) for change in before.differences() if change.what not in _DRAWN_FROM]
        require(not changed, "; ".join(changed))
    finally:
        before.restore()


_DRAWN_FROM = {"the state of Python's random generator"}  # by run-time type checkers such as beartype, at every call


def _require_same_state(wanted: dict[str, Tensor], got: dict[str, Tensor], when: str) -> None:
    for name in {**wanted, **got}:
        require(name in got, f"{when} it has no tensor {name}")
        require(name in wanted, f"{when} it has a tensor {name} more")
        require(
            got[name].shape == wanted[name].shape and got[name].dtype == wanted[name].dtype,
            f"{name} is {tuple(wanted[name].shape)} of {wanted[name].dtype}, "
            f"and {when} {tuple(got[name].shape)} of {got[name].dtype}",
        )


CHECKS = (
    check_registers,
    check_docstring,
    check_takes_shapes,
    check_options_are_json,
    check_bounds,
    check_spec_rebuilds,
    check_float64,
    check_bf16_autocast,
    check_gradients,
    check_deterministic,
    check_saves,
    check_builds_on_meta,
    check_tensors_are_registered,
    check_changes_no_global_state,
    check_imports_cleanly,
    check_compiles,
)
"""In the order in which they are made; `check_rows_are_independent` is for all kinds but the loss."""

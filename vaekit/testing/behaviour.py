"""What every part is held to in what it does: shapes, types, gradients, draws, saving."""

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from vaekit.ambient import DRAWN, Ambient
from vaekit.errors import ShapeError
from vaekit.testing.case import Case, cast, require, same, steadily
from vaekit.testing.outcomes import CheckFailed


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
                if training and n == 1:
                    case.at += " (as the last batch of an epoch may have)"
                bench.check_shapes(n)


def check_float64(case: Case) -> None:
    """In float64 everything that comes out is float64, and near to what float32 gives."""
    for bench in case.benches():
        inputs = bench.inputs(3)
        single = steadily(bench, inputs)
        double = steadily(bench.double(), cast(inputs, torch.float64))
        for name, value in double.items():
            counted = name.startswith("log_") and not inputs[-1].is_floating_point()  # integers have no dtype to pass on
            require(
                not value.is_floating_point() or value.dtype == torch.float64 or counted,
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
            score = name.startswith("log_")
            odd = value.isnan() if score else ~value.isfinite()
            require(not odd.any().item(), f"{name} is NaN{'' if score else ' or infinite'}")
            if score:
                require(value.dtype == torch.float32, f"{name} is {value.dtype}: promote what scores, by vaekit.distributions")
        bench.eval()
        full = steadily(bench, inputs)
        with torch.autocast("cpu", torch.bfloat16):
            half = steadily(bench, inputs)
        for name, value in half.items():
            require(bool((value.isfinite() == full[name].isfinite()).all()), f"{name} is infinite, where in float32 it is not")
            gap = (value.double() - full[name].double()).nan_to_num(0, 0, 0).abs().sum()
            size = full[name].double().nan_to_num(0, 0, 0).abs().sum()
            require(
                bool(gap <= 0.1 * size + 0.01 * value.numel()),
                f"{name} is off by {gap / value.numel():.3g} on the average, where its size is {size / value.numel():.3g}",
            )


def check_gradients(case: Case) -> None:
    """Every parameter gets a finite gradient; so do θ, z and h, through what is drawn, and the point that a prior scores."""
    for wiring in case.few:
        unreached: dict[int, str] = {}
        for number, bench in enumerate(case.stirred(wiring, training=True)):
            inputs = tuple(i.requires_grad_() if i is not None and i.is_floating_point() else i for i in bench.inputs(4))
            outputs = bench(*inputs)
            weighed = {name: (value * torch.randn_like(value)).sum() for name, value in outputs.items() if value.requires_grad}
            require(bool(weighed) or not list(bench.part.parameters()), "nothing that comes out has a gradient")
            first = next(iter(outputs))
            for i in bench.wanted:
                require(first in weighed, f"{first} has no gradient: draw by rsample, and detach nothing")
                (reaching,) = torch.autograd.grad(weighed[first], inputs[i], retain_graph=True, allow_unused=True)
                if reaching is not None and (reaching != 0).any():
                    unreached[i] = ""
                else:
                    unreached.setdefault(i, f"no gradient of {first} reaches the {('first', 'second')[i]} argument")
            if weighed:
                torch.stack(list(weighed.values())).sum().backward()
            for name, parameter in bench.part.named_parameters():
                if parameter.requires_grad and not number:
                    require(parameter.grad is not None, f"parameter {name} gets no gradient: use it or leave it out")
                    require(bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite")
        require(not any(unreached.values()), next(filter(None, unreached.values()), ""))


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
            results.append({name: value.detach() for name, value in built(*inputs).items()})
        difference = same(results[0], results[1], rtol=1e-6, atol=1e-7)
        require(not difference, f"run twice from one seed, {difference}")


def check_saves(case: Case) -> None:
    """Saved as safetensors and loaded strictly into another, it gives the same."""
    for wiring in case.few:
        bench, other = case.bench(wiring, seed=1, training=True), case.bench(wiring, seed=2)
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
        changed = [str(change) for change in before.differences() if change.what != DRAWN]
        require(not changed, "; ".join(changed))
    finally:
        before.restore()

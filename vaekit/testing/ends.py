"""What contexts, encoders and decoders are held to besides."""

import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.testing.case import Case, require, steadily
from vaekit.testing.outcomes import CheckFailed, NotApplicable


def check_what_it_samples_it_takes(case: Case) -> None:
    """`forward` and `parse` take what `sample` gives, one each or one for all; what is no y is a ConfigError."""
    for bench in case.benches():
        part = bench.part
        y = part.sample(5)
        require(y is None or len(y) == 5, f"asked for 5, sample gives {None if y is None else len(y)}")
        for given in [None] if y is None else [y, y.tolist(), y[0].tolist()]:
            parsed = part.parse(given, 5, ())
            require((parsed is None) == (y is None), f"sample gives {y}, and parse makes {parsed} of {given!r}")
            if y is not None:
                require(len(parsed) == 5, f"for 5 examples, parse makes {len(parsed)} of {given!r}: one y is for all of them")
                wanted = y if len(torch.as_tensor(given).shape) == y.dim() else y[:1].expand_as(y)
                require(torch.equal(part(parsed, 5), part(wanted, 5)), f"{given!r} means something else once parsed")
        three = [1, 2, 3] if y is None else y[:3].tolist()
        for wrong in (object(), [object()] * 5, three, float("nan"), "no such class"):
            try:
                part.parse(wrong, 5, ())
            except ConfigError:
                continue
            raise CheckFailed(f"parse takes {wrong!r} as the y of 5 examples: raise a ConfigError that says what it takes")


def check_y_matters(case: Case) -> None:
    """`sample` gives different y, and different y give different c."""
    for bench in case.benches():
        y = bench.part.sample(200)
        if y is None:
            require(bench.part.out_shape == (0,), f"without a y, c of shape (N, {bench.part.out_shape[0]}) says nothing")
            continue
        kinds = y.unique(dim=0)
        require(len(kinds) > 1, f"200 times sample gives the same y, {y[0].tolist()}")
        with torch.no_grad():
            c = bench.part(kinds, len(kinds))
        require(bool((c != c[:1]).any()), f"c is the same for {len(kinds)} different y")


def check_x_matters(case: Case) -> None:
    """Different x give different features."""
    _require_differences(case, 0, "x")


def check_z_matters(case: Case) -> None:
    """Different z give different θ."""
    _require_differences(case, 0, "z")


def check_c_matters(case: Case) -> None:
    """Different contexts give something different, but where there is nothing to learn."""
    _require_differences(case, 1, "contexts")


def _require_differences(case: Case, varied: int, what: str) -> None:
    """Vary one of the inputs, and no other."""
    looked_at = 0
    for wiring in case.few:
        outputs: dict[str, Tensor] = {}
        spread = 0.0
        for bench in case.stirred(wiring):
            inputs = bench.inputs(6)
            learns = any(parameter.requires_grad for parameter in bench.part.parameters())
            if inputs[varied].numel() and (learns or not varied):
                alike = tuple(value if i == varied else value[:1].expand_as(value) for i, value in enumerate(inputs))
                outputs = steadily(bench, alike)
                spread = max(spread, *((value - value[:1]).abs().max().item() for value in outputs.values()))
        if outputs:
            verb = "are" if len(outputs) > 1 else "is"
            require(spread > 1e-7, f"{' and '.join(outputs)} {verb} the same for six different {what}")
            looked_at += 1
    if not looked_at:
        raise NotApplicable("it takes no context, or has nothing to learn")

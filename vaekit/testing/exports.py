"""What a part is held to that is to leave Python: its half of an exported model has a graph, for any batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from vaekit.export.graphs import quiet, reason
from vaekit.testing.case import Case, require, same
from vaekit.testing.outcomes import CheckFailed, NotApplicable


def check_exports(case: Case) -> None:
    """torch.export takes it for batches of any size, as `vaekit export` asks: h, the code, θ, or the mean."""
    for wiring in {wiring.ranks: wiring for wiring in case.few}.values():  # the widest context of each, which asks the most
        bench = case.bench(wiring)
        case.at = str(wiring)
        inputs = _given(bench.inputs(5), wiring.width)
        function = _Function(bench.part).eval()
        with torch.no_grad():
            try:
                wanted = function(*inputs)
            except NotImplementedError:  # which torch's distributions raise where there is no mean
                raise NotApplicable("what it gives has no mean in closed form") from None
            try:
                with quiet():
                    sizes = tuple({0: Dim("batch", min=1, max=64)} for _ in inputs)
                    graph = torch.export.export(function, tuple(i[:3] for i in inputs), dynamic_shapes=sizes, strict=False)
            except Exception as error:
                raise CheckFailed(reason(error)) from error
            difference = same({"it": graph.module()(*inputs)}, {"it": wanted}, rtol=1e-4, atol=1e-5)
        require(not difference, f"exported for 3 examples and run on 5, {difference}")


class _Function(nn.Module):
    """A part as the function of tensors that an exported model makes of it."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def forward(self, first: Tensor, c: Tensor | None = None) -> Tensor:
        told = first.flatten(1)[:, :0] if c is None else c
        match self.part.kind:
            case "latent":
                found: Tensor = self.part.code(first, told)
            case "likelihood":
                found = self.part(first).mean
            case _:
                found = self.part(first, told)
        return found


def _given(inputs: tuple[Tensor | None, ...], width: int) -> tuple[Tensor, ...]:
    first, second = inputs[:2]
    assert first is not None
    return (first, second) if width and second is not None else (first,)

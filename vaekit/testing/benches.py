"""Parts of each kind wired at toy size: with what they need beside them, inputs that fit, and what comes out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import registry
from vaekit.distributions import normal, promote
from vaekit.model import VAE
from vaekit.parts import Context, Part, Posterior, Prior, Space
from vaekit.shapes import Shape
from vaekit.testing.outcomes import CheckFailed
from vaekit.testing.spaces import SPACES, on, scattered, stand_in

SHAPES: tuple[Shape, ...] = ((3, 7, 5), (1, 8, 8), (1, 1, 1), (6, 4), (1, 1), (5,), (1,))
"""The shapes of data that parts are tried on: images, sequences and vectors, odd ones and the smallest."""

WIDTHS = (0, 3)
"""The widths of context that parts are tried with."""

Inputs = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Wiring:
    """What a constructor takes, and the width of the context."""

    arguments: Mapping[str, Any]
    width: int = 0

    @property
    def ranks(self) -> tuple[Any, ...]:
        """How many axes each shape has, and what kind of space the root is on."""
        values = list(self.arguments.values())
        spaces = [(value.support, len(value.shape)) for value in values if isinstance(value, Space)]
        return (*(len(value) for value in values if isinstance(value, tuple)), *spaces)

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in self.arguments.items()]
        return ", ".join(said + ([] if "context" in self.arguments or not self.width else [f"context {self.width}"]))


class Bench(nn.Module, ABC):
    """A wired part. Called with inputs it gives what comes out, by name; scores in nats are called `log_…`.

    Attributes:
        wanted: which inputs gradients must reach.
        by_row: whether the examples are along the first axis of what `steady` gives.
    """

    wanted: tuple[int, ...] = ()
    by_row: ClassVar[bool] = True

    def __init__(self, part: Any, wiring: Wiring) -> None:
        super().__init__()
        self.part, self.wiring = part, wiring

    @abstractmethod
    def inputs(self, n: int) -> Inputs:
        """What `n` examples bring, drawn from torch's generator."""

    @abstractmethod
    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        """What comes out; it may depend on draws."""

    def steady(self, *inputs: Any) -> dict[str, Tensor]:
        """What comes out and depends on no draw."""
        outputs: dict[str, Tensor] = self(*inputs)
        return outputs

    @abstractmethod
    def check_shapes(self, n: int) -> None:
        """Compare the shapes of everything that comes out for `n` examples with what the interface says.

        Raises:
            CheckFailed: naming what differs.
        """


def wirings(kind: str, shapes: tuple[Shape, ...]) -> Iterator[Wiring]:
    """Every way to wire a part of that kind."""
    latents: tuple[Shape, ...] = ((2,), (4, 2, 3))
    match kind:
        case "context":
            yield Wiring({})
        case "likelihood":
            yield from (Wiring({"data_shape": shape}) for shape in shapes)
        case "encoder" | "latent":
            yield from (Wiring({"in_shape": shape, "context": width}, width) for shape in shapes for width in WIDTHS)
        case "prior":
            for root in SPACES:
                yield from (Wiring({"root": root, "data_shape": shapes[0], "context": width}, width) for width in WIDTHS)
        case "decoder":
            for latent in latents:
                for shape in shapes:
                    yield from (Wiring({"in_shape": latent, "out_shape": shape, "context": w}, w) for w in WIDTHS)
        case "loss":
            root = Space((2,))
            for shape in shapes:
                yield from (Wiring({"data_shape": shape, "root": root, "examples": 64}, width) for width in WIDTHS)


def bench(part: type[Part], options: Mapping[str, Any], wiring: Wiring) -> Bench:
    """A part wired so, in training mode.

    Raises:
        ShapeError: where the part refuses.
    """
    return _BENCHES[part.kind](part(**wiring.arguments, **options), wiring)


class _Contexts(Bench):
    def inputs(self, n: int) -> Inputs:
        return self.part.sample(n), torch.zeros(n, 0)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        y, examples = inputs
        return {"c": self.part(y, len(examples))}

    def check_shapes(self, n: int) -> None:
        if len(self.part.out_shape) != 1:
            raise CheckFailed(f"out_shape is {self.part.out_shape}, not (C,)")
        y, _ = self.inputs(n)
        if y is not None:
            _compare("the examples that sample gives", y.shape[:1], (n,))
        _compare("c", self.part(y, n).shape, (n, *self.part.out_shape))


class _Encoders(Bench):
    def inputs(self, n: int) -> Inputs:
        return torch.rand(n, *self.wiring.arguments["in_shape"]), torch.randn(n, self.wiring.width)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        return {"h": self.part(*inputs)}

    def check_shapes(self, n: int) -> None:
        _compare("h", self.part(*self.inputs(n)).shape, (n, *self.part.out_shape))


class _Decoders(Bench):
    wanted = (0,)

    def inputs(self, n: int) -> Inputs:
        return torch.randn(n, *self.wiring.arguments["in_shape"]), torch.randn(n, self.wiring.width)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        return {"θ": self.part(*inputs)}

    def check_shapes(self, n: int) -> None:
        _compare("out_shape", self.part.out_shape, self.wiring.arguments["out_shape"])
        _compare("θ", self.part(*self.inputs(n)).shape, (n, *self.part.out_shape))


class Latents(Bench):
    wanted = (0,)

    def inputs(self, n: int) -> Inputs:
        h, c = torch.randn(n, *self.wiring.arguments["in_shape"]), torch.randn(n, self.wiring.width)
        return h, c, scattered(self.part.root, n)

    def prior(self, c: Tensor) -> Distribution:
        """A prior for the root, whatever space that lives on."""
        return on(self.part.root, promote(c)[0].new_zeros(len(c)))

    def draw(self, h: Tensor, c: Tensor, samples: int) -> Any:
        """What `samples` draws an example leave behind."""
        return self.part(h, c, self.prior(c), samples)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        h, c, at = inputs
        draw = self.draw(h, c, 2)
        found = {"z": draw.z, "log_q": self.part.posterior(h, c).log_prob(at)}
        found |= {f"log_ratio_{i}": site.log_ratio() for i, site in enumerate(draw.sites)}
        return found if draw.penalty is None else {**found, "penalty": draw.penalty}

    def steady(self, *inputs: Any) -> dict[str, Tensor]:
        h, c, at = inputs
        return {"code": self.part.code(h, c), "log_q": self.part.posterior(h, c).log_prob(at)}

    def check_shapes(self, n: int) -> None:
        part, (h, c, at) = self.part, self.inputs(n)
        assert h is not None
        assert c is not None
        q = part.posterior(h, c)
        _compare("the batch of q", q.batch_shape, (n,))
        _compare("the event of q", q.event_shape, part.root.shape)
        draw = self.draw(h, c, 2)
        _compare("z", draw.z.shape, (2, n, *part.out_shape))
        if not draw.sites:
            raise CheckFailed("the Draw has no sites: the root is one")
        _compare("z of the first site, the root", draw.sites[0].z.shape, (2, n, *part.root.shape))
        for i, site in enumerate(draw.sites):
            _compare(f"the KL of site {i}", site.kl().shape, (n,))
            _compare(f"the log-ratio of site {i}", site.log_ratio().shape, (2, n))
        if draw.penalty is not None:
            _compare("the penalty", draw.penalty.shape, (n,))
        _compare("the code", part.code(h, c).shape, (n, *part.out_shape))
        _compare("what is generated", part.generate(at, c).shape, (n, *part.out_shape))


class Priors(Bench):
    def __init__(self, part: Any, wiring: Wiring) -> None:
        super().__init__(part, wiring)
        self.wanted = (1,) if wiring.arguments["root"].support == "real" else ()  # elsewhere a density may be flat

    def inputs(self, n: int) -> Inputs:
        return torch.randn(n, self.wiring.width), scattered(self.wiring.arguments["root"], n)

    def distribution(self, c: Tensor) -> Distribution:
        """p(root | c)."""
        p: Distribution = self.part(c, stand_in(self.wiring.arguments["root"]))
        return p

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        c, at = inputs
        return {"log_p": self.distribution(c).log_prob(at)}

    def check_shapes(self, n: int) -> None:
        root = self.wiring.arguments["root"]
        p = self.distribution(torch.randn(n, self.wiring.width))
        _compare("out_shape", self.part.out_shape, root.shape)
        _compare("the batch of p", p.batch_shape, (n,))
        _compare("the event of p", p.event_shape, root.shape)
        two = p.sample((2,))
        _compare("two draws", two.shape, (2, n, *root.shape))
        _compare("the log-density of two draws", p.log_prob(two).shape, (2, n))


class _Likelihoods(Bench):
    wanted = (0,)

    def inputs(self, n: int) -> Inputs:
        theta = torch.randn(n, *self.part.in_shape)
        with torch.no_grad():
            return theta, self.part(theta).sample()

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        theta, x = inputs
        return {"log_p": self.part(theta).log_prob(x)}

    def check_shapes(self, n: int) -> None:
        data_shape = self.wiring.arguments["data_shape"]
        theta, x = self.inputs(n)
        assert x is not None
        p = self.part(theta)
        _compare("out_shape", self.part.out_shape, data_shape)
        _compare("the batch of p", p.batch_shape, (n,))
        _compare("the event of p", p.event_shape, data_shape)
        _compare("a draw", x.shape, (n, *data_shape))
        _compare("the log-density", p.log_prob(x).shape, (n,))
        _compare("the log-density of two draws", p.log_prob(torch.stack([x, x])).shape, (2, n))


class Losses(Bench):
    """A loss beside a textbook model, small enough to be trained in a second."""

    by_row = False

    def __init__(self, part: Any, wiring: Wiring) -> None:
        super().__init__(part, wiring)
        shape, width = wiring.arguments["data_shape"], wiring.width
        encoder: Any = registry.find("encoder", "mlp")(shape, width, hidden=(32,))
        latent: Any = registry.find("latent", "gaussian")(encoder.out_shape, width, features=wiring.arguments["root"].shape[0])
        likelihood: Any = registry.find("likelihood", "bernoulli")(shape)
        decoder: Any = registry.find("decoder", "mlp")(latent.out_shape, likelihood.in_shape, width, hidden=(32,))
        self.model = VAE(
            context=Given(width),
            encoder=encoder,
            latent=latent,
            prior=Learned(latent.root, shape, width),
            decoder=decoder,
            likelihood=likelihood,
        )
        self.players: dict[str, list[nn.Parameter]] = part.players(self.model)

    def inputs(self, n: int) -> Inputs:
        x = (torch.rand(n, *self.wiring.arguments["data_shape"]) > 0.5).float()
        return x, torch.randn(n, self.wiring.width)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        return {f"log_loss_{player}": self.part(self.model, *inputs, player).loss for player in self.players}

    def check_shapes(self, n: int) -> None:
        _compare("out_shape", self.part.out_shape, ())
        for player in self.players:
            terms = self.part(self.model, *self.inputs(n), player)
            _compare(f"the loss of player {player!r}", terms.loss.shape, ())
            for name, value in terms.parts.items():
                _compare(f"{name} of player {player!r}", value.shape, ())


class Given(Context):
    """A context that is y itself, of any width."""

    name = "given"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_shape = (width,)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        return self.empty.new_zeros(n, *self.out_shape) if y is None else y

    def parse(self, y: Any, n: int, classes: Any) -> Tensor | None:
        return None if y is None else torch.as_tensor(y)

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, *self.out_shape)


class Learned(Prior):
    """A normal prior that has something to learn."""

    name = "learned"

    def __init__(self, root: Space, data_shape: Shape, context: int) -> None:
        super().__init__()
        self.loc, self.log_scale = nn.Parameter(torch.zeros(root.shape)), nn.Parameter(torch.zeros(root.shape))
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        shape = (len(c), *self.out_shape)
        return normal(self.loc.expand(shape), self.log_scale.exp().expand(shape))


def _compare(what: str, got: Any, wanted: Any) -> None:
    if tuple(got) != tuple(wanted):
        raise CheckFailed(f"{what} has shape {tuple(got)}, where {tuple(wanted)} is wanted")


_BENCHES: dict[str, type[Bench]] = {
    "context": _Contexts,
    "encoder": _Encoders,
    "latent": Latents,
    "prior": Priors,
    "decoder": _Decoders,
    "likelihood": _Likelihoods,
    "loss": Losses,
}

"""The seven interfaces that parts implement.

A part is a module with a kind (which interface), a name (chosen by its plugin), and a constructor of two halves:
positional *wiring* (shapes and spaces, which the library works out) and keyword-only *options* (bounded JSON values
with defaults, which the user chooses). Shapes in this module: N examples, S samples a example, C the width of the context.
"""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaekit.paths import path
from vaekit.shapes import Shape
from vaekit.trace import Draw, Terms

if TYPE_CHECKING:
    from vaekit.model import VAE

Posterior = Callable[[Tensor, Tensor], Distribution]
"""The model's own q(z | x, c), with normalisation layers on their running statistics."""


@dataclass(frozen=True)
class Space:
    """Where a root latent lives; shapes alone cannot tell which prior fits which latent.

    Densities of posteriors and priors are by one measure, or their ratio means nothing: by volume on a real space and in the
    ball, by area on the sphere, by all coordinates but the last on the simplex, and by counting for codes.

    Args:
        shape: of one latent.
        support: `real` (all of it), `sphere` (unit vectors), `ball` (the open unit ball), `simplex` (the last axis sums to
            one), or `codes` (integers below `size`).
        size: how many codes there are, where the support is `codes`.
    """

    shape: Shape
    support: Literal["real", "sphere", "ball", "simplex", "codes"] = "real"
    size: int | None = None

    @property
    def dimensions(self) -> int:
        """How many numbers make one latent."""
        return prod(self.shape)

    @property
    def usual_prior(self) -> str:
        """The name of the prior to take there where nothing speaks for another."""
        return _USUAL_PRIORS[self.support]


_USUAL_PRIORS = {
    "real": "normal",
    "sphere": "uniform",
    "ball": "wrapped-normal",
    "simplex": "relaxed-categorical",
    "codes": "codes",
}


class Part(nn.Module, ABC):
    """A module with a kind, a name, and a constructor that is its own schema.

    What it was built with is recorded: `part.wiring` and `part.spec()` rebuild it as
    `type(part)(**part.wiring, **options)`.

    Attributes:
        kind: which interface; fixed by it.
        name: what users type; chosen by the plugin, in lower case with hyphens.
        wires: the constructor's positional parameters; fixed by the interface.
        compiles: whether `torch.compile(fullgraph=True)` takes it; a part that says no gives the reason in its docstring.
        exchanges: whether it exchanges tensors between ranks in training, so that no rank may try it alone.
        expected_failures: checks of `vaekit.testing` that it cannot pass, by name, each with the reason.
        out_shape: the shape of one output.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    wires: ClassVar[tuple[str, ...]] = ()
    compiles: ClassVar[bool] = True
    exchanges: ClassVar[bool] = False
    expected_failures: ClassVar[Mapping[str, str]] = {}
    out_shape: Shape
    wiring: dict[str, Any]

    def __new__(cls, *wiring: Any, **arguments: Any) -> Self:
        part = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(part, *wiring, **arguments)
        bound.apply_defaults()
        given = dict(list(bound.arguments.items())[1:])
        part.__dict__["wiring"] = {name: given[name] for name in cls.wires if name in given}
        part.__dict__["_options"] = {name: value for name, value in given.items() if name not in cls.wires}
        return part

    def spec(self) -> dict[str, Any]:
        """The name and every option, defaults included, as JSON values."""
        options: dict[str, Any] = json.loads(json.dumps(self.__dict__["_options"]))
        return {"name": self.name, **options}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.__dict__["_options"].items())


class Context(Part):
    """What the model is told besides x: turns y (labels, vectors, nothing) into c (N, C). C is 0 when unconditional."""

    kind = "context"
    empty: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("empty", torch.empty(0), persistent=False)  # knows the device and dtype of the model

    @abstractmethod
    def forward(self, y: Tensor | None, n: int) -> Tensor:
        """The context of `n` examples, (N, C)."""

    @abstractmethod
    def parse(self, y: Any, n: int, classes: Sequence[str]) -> Tensor | None:
        """What a person gave as y, as what `forward` takes.

        Args:
            y: a class number or name, one for all or a sequence of `n`; or None.
            n: how many examples there are.
            classes: the names of the classes in the data that the model saw; may be empty.

        Raises:
            ConfigError: where y is missing, unknown or of the wrong length.
        """

    @abstractmethod
    def sample(self, n: int) -> Tensor | None:
        """y for `n` new examples where nobody said which."""


class Encoder(Part):
    """Features of x, for a Latent to make a posterior of.

    Attributes:
        takes_padding: whether it reads sequences of several lengths, which end in steps of NaN (`vaekit.mask`).
    """

    kind = "encoder"
    wires = ("in_shape", "context")
    takes_padding: ClassVar[bool] = False

    @abstractmethod
    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """h of shape (N, *out_shape) from x (N, *in_shape) and c (N, C)."""


class Latent(Part):
    """The posterior q(z | x, c), and how its draws become what the decoder sees.

    Attributes:
        root: where the root latent lives; the Prior is a distribution over it.
        out_shape: the shape of one z as the Decoder sees it.
        has_density: whether the posterior has a density, or a probability; where it has none, as a point of a real space,
            nothing that is computed with it is a bound, and none is given.
    """

    kind = "latent"
    wires = ("in_shape", "context")
    root: Space
    has_density: ClassVar[bool] = True

    @abstractmethod
    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        """q(root | x, c): batch (N,), event root.shape."""

    @abstractmethod
    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        """Draw `samples` times: z (S, N, *out_shape), with a Site for every stochastic layer."""

    @abstractmethod
    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        """z (N, *out_shape) from root latents (N, *root.shape); the identity unless hierarchical or discrete."""

    @abstractmethod
    def code(self, h: Tensor, c: Tensor) -> Tensor:
        """The deterministic z (N, *out_shape) that stands for x: no randomness, whatever the mode."""

    def path(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """z (steps, *out_shape) on the way from one to another, (*out_shape) each and both included.

        It is an arc or a straight line (`vaekit.paths`) where the latent does not say how its space bends.
        """
        return path(a, b, steps, self.root)


class Prior(Part):
    """The prior p(z | c) over the root latent.

    Attributes:
        begins_with: how many training examples `begin` wants to see.
    """

    kind = "prior"
    wires = ("root", "data_shape", "context")
    begins_with: int = 0

    def begin(self, x: Tensor, c: Tensor, posterior: Posterior) -> None:
        """Look at some training examples before the first step of a run: x (M, *data_shape) and c (M, C), at random.

        M is `begins_with`, or fewer where there are no more. It is called under a seed and without gradients.
        """

    @abstractmethod
    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        """p(root | c): batch (N,), event root.shape. `posterior` is for priors that are made of posteriors."""


class Decoder(Part):
    """The parameters θ of p(x | z, c)."""

    kind = "decoder"
    wires = ("in_shape", "out_shape", "context")

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """θ of shape (N, *out_shape) from z (N, *in_shape) and c (N, C)."""


class Likelihood(Part):
    """The density p(x | θ), normalised, with all its constants.

    Attributes:
        in_shape: the shape of θ that it asks of the decoder.
        support: the values that it gives a probability or a density, as a constraint on single numbers.
        pseudo_support: values outside the support that it scores all the same; what comes out is no likelihood.
        base_measure: `counting` where log_prob is of a probability, `lebesgue` where it is of a density.
    """

    kind = "likelihood"
    wires = ("data_shape",)
    in_shape: Shape
    support: Constraint
    pseudo_support: Constraint | None = None
    base_measure: Literal["counting", "lebesgue"]

    @property
    def exact(self) -> bool:
        """Whether log_prob in the present mode is of one density, so that the ELBO is a bound."""
        return True

    def seen(self, x: Tensor) -> Tensor:
        """x (N, *data_shape) as the encoder sees it: x itself, but where its values are of many magnitudes."""
        return x

    @abstractmethod
    def forward(self, theta: Tensor) -> Distribution:
        """p(x | θ): batch (N,), event data_shape; with `log_prob`, `mean` and `sample`."""


class Loss(Part):
    """What training minimises, by arithmetic on Traces.

    `examples`, in the wiring, is the size of the training set.

    Attributes:
        selects: which model of a training is the best where the user does not say: `loss`, the one whose loss is lowest on the
            validation set; or `last`, where players work against each other, so that the loss does not tell.
    """

    kind = "loss"
    wires = ("data_shape", "root", "examples")
    selects: ClassVar[Literal["loss", "last"]] = "loss"

    def players(self, model: "VAE") -> dict[str, list[nn.Parameter]]:
        """Disjoint groups of parameters, each stepped in turn on its own Terms; all of the model's that want gradients."""
        return {"model": [p for p in model.parameters() if p.requires_grad]}

    def stepped(self) -> None:
        """Count: training calls this once after every step of all players, in however many pieces the batch was taken.

        What anneals keeps its count in a buffer, so that a run that goes on does so where it stood.
        """

    @abstractmethod
    def forward(self, model: "VAE", x: Tensor, c: Tensor, player: str = "model") -> Terms:
        """The loss to differentiate, and its parts in nats per example, for x (N, *data_shape) and c (N, C)."""


INTERFACES: dict[str, type[Part]] = {i.kind: i for i in (Context, Encoder, Latent, Prior, Likelihood, Decoder, Loss)}
"""The interfaces by kind, in the order in which a model is built."""

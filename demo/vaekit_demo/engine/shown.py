"""A model as the demo shows it: what it can do, examples of its data where they are at hand, and where their codes lie."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from threading import RLock

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit import VAE, Batches, ConfigError, DataError, Examples, ShapeError, VaekitError
from vaekit.blocks import drawing, evaluation
from vaekit.data.subset import some
from vaekit.distributions import tempered
from vaekit.figures import Posteriors
from vaekit_demo.engine.frame import Frame
from vaekit_demo.engine.pictures import Kind, Pictures, kind_of, pictures


@dataclass(frozen=True)
class Survey:
    """What is known of many examples at once.

    Args:
        z: their codes, (N, D).
        y: their class numbers, where there are any.
        numbers: which of the test set they are; None where they are the model's own samples.
        kl: the mean KL of each dimension from its prior, in nats (D,); None where it is not a sum over the code's dimensions.
        mean: of each dimension under the aggregated posterior, (D,).
        sd: likewise.
        normal: whether each posterior is a diagonal normal over the code itself, which an ellipse can show.
        span: the values of data that are shown as black and white.
        frame: where in an image its ink lies.
    """

    z: Tensor
    y: Tensor | None
    numbers: Tensor | None
    kl: Tensor | None
    mean: Tensor
    sd: Tensor
    normal: bool
    span: tuple[float, float]
    frame: Frame | None

    @property
    def order(self) -> list[int]:
        """The dimensions, the one that says most first: by KL, or by spread where that is not known."""
        return (self.sd if self.kl is None else self.kl).argsort(descending=True, stable=True).tolist()

    def idle(self, i: int) -> bool:
        """Whether a dimension says next to nothing of x."""
        return bool(self.sd[i] < 0.1 * self.sd.max() if self.kl is None else self.kl[i] < IDLE)


IDLE = 0.1
"""Nats of KL below which a dimension is idle."""


class Shown:
    """A model on show.

    Args:
        key: what the page calls it.
        title: what people call it.
        model: in evaluation mode.
        find: gives held-out examples of what it was trained on, prepared as they were then, when they are first needed; or
            raises a VaekitError that says why there are none.
        given: what a person gave to have it loaded.
        command: for one that was trained here, what trains the same into a run.
    """

    def __init__(
        self,
        key: str,
        title: str,
        model: VAE,
        find: Callable[[], Examples],
        given: str = "",
        command: str = "",
    ) -> None:
        self.key, self.title, self.model = key, title, model
        self.given, self.command = given, command
        self.shape = model.data_shape
        self.kind: Kind = kind_of(self.shape)
        self.size = prod(model.latent.out_shape)
        self._find = find
        self._lock = RLock()
        self._found: tuple[Examples | None, str] | None = None
        self._survey: Survey | None = None

    @property
    def test(self) -> Examples | None:
        """The test set, where it is at hand."""
        return self._at_hand()[0]

    @property
    def why(self) -> str:
        """A sentence that says why there is no test set."""
        return self._at_hand()[1]

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes of its data."""
        config = self.model.config
        known = config.data.classes if config and config.data else ()
        if known or not self.model.conditional or config is None:
            return known
        count = config.context.get("classes")
        return [str(i) for i in range(count)] if isinstance(count, int) else []

    @property
    def immovable(self) -> str:
        """Why a cursor cannot go anywhere among its codes; empty where it can."""
        support = self.model.latent.root.support
        if support in ("real", "sphere", "ball"):
            return ""
        spoken = "are codes of a codebook" if support == "codes" else f"lie in a space of {support}"
        return f"The latents of this model {spoken}: choose the code of an example."

    @property
    def interpolable(self) -> str:
        """Why no path leads from one code to another; empty where one does."""
        support = self.model.latent.root.support
        return "" if support in ("real", "sphere") else f"No path leads from code to code in a space of {support}."

    @property
    def prior(self) -> Distribution:
        """p(z), of one example; of a conditional model under its first class."""
        with self.still():
            found: Distribution = self.model.prior_z(self.context(0 if self.model.conditional else None, 1))
        return found

    @property
    def has_temperature(self) -> bool:
        """Whether the prior is a Gaussian that can be narrowed."""
        return self.model.latent.root.support == "real" and tempered(self.prior, 1.0) is not None

    @property
    def axis_priors(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of each dimension of the code under a normal prior that no class changes; else None."""
        base = self.prior.base_dist if isinstance(self.prior, Independent) else None
        fixed = not self.model.conditional or self.model.prior.name == "normal"
        if not isinstance(base, Normal) or not fixed or not self._code_is_root:
            return None
        return base.loc.flatten().float().cpu(), base.scale.flatten().float().cpu()

    @property
    def survey(self) -> Survey:
        """What its examples are like, found out once."""
        with self._lock:
            if self._survey is None:
                self._survey = self._surveyed()
            return self._survey

    # What everything else is made of.

    @contextmanager
    def still(self) -> Iterator[None]:
        """A block without gradients, in evaluation mode."""
        with torch.no_grad(), evaluation(self.model):
            yield

    def context(self, y: int | Tensor | None, n: int) -> Tensor:
        """c (n, C) of what a model is told.

        Raises:
            ConfigError: where a class is missing or unknown.
        """
        parsed = self.model.context.parse(y, n, self.classes)
        c: Tensor = self.model.context(None if parsed is None else parsed.to(self.model.context.empty.device), n)
        return c

    def at(self, z: Tensor) -> Tensor:
        """Codes (N, D) as the decoder takes them, brought to where latents of this model can be."""
        if z.dim() != 2 or z.shape[1] != self.size:
            raise ShapeError(f"z has {z.shape[-1]:,} numbers; this model's has {self.size:,}")
        shaped = z.reshape(-1, *self.model.latent.out_shape)
        support = self.model.latent.root.support
        if support in ("sphere", "ball"):
            length = shaped.norm(dim=-1, keepdim=True).clamp_min(1e-9)
            shaped = shaped / (length if support == "sphere" else length.clamp_min(1 - 1e-4) / (1 - 1e-4))
        return shaped

    def decode(self, z: Tensor, y: int | Tensor | None) -> Pictures:
        """Codes (N, D) as pictures."""
        return self.pictures(self.model.decode(self.at(z), y))

    def pictures(self, x: Tensor) -> Pictures:
        """Data as pictures."""
        return pictures(x, (0.0, 1.0) if self.kind == "image" else self.survey.span)

    def examples(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Test examples by number, (N, *shape) as floats, with their class numbers.

        Raises:
            DataError: where they are not at hand, or there is none of that number.
        """
        if self.test is None:
            raise DataError(f"There are no test examples here. {self.why}")
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self.test):
            raise DataError(f"The test set has no example {int(numbers.max())}: it has 0 to {len(self.test) - 1:,}.")
        x, y = next(iter(Batches(self.test.take(numbers), max(1, len(numbers)))))
        return x, y

    def drawn(
        self, n: int, y: int | Tensor | None, seed: int, temperature: float = 1.0, posterior: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Codes (n, *out_shape) and what classes they are of: from the prior, or from the posteriors of random test examples.

        What the prior gives is what `VAE.sample` decodes for the same seed.

        Raises:
            ConfigError: for a temperature where there is none.
            DataError: where there are no test examples to take posteriors of.
        """
        if posterior:
            if temperature != 1.0:
                raise ConfigError("The temperature is of the prior: leave it at 1 for the aggregated posterior.")
            return self._of_posteriors(n, y, seed)
        with self.still(), drawing(seed, self.model.context.empty.device):
            told = self.model.context.sample(n) if y is None else self.model.context.parse(y, n, self.classes)
            c = self.context(told, n)
            prior = self.model.prior_z(c)
            if temperature != 1.0:
                narrowed = tempered(prior, temperature) if self.model.latent.root.support == "real" else None
                if narrowed is None:
                    raise ConfigError("The prior of this model is not Gaussian and has no temperature: leave it at 1.")
                prior = narrowed
            return self.model.latent.generate(prior.sample(), c), told

    def _of_posteriors(self, n: int, y: int | Tensor | None, seed: int) -> tuple[Tensor, Tensor | None]:
        if self.test is None:
            raise DataError(f"The aggregated posterior needs test examples. {self.why}")
        generator = torch.Generator().manual_seed(seed)
        there = torch.arange(len(self.test))
        if y is not None and self.test.y is not None:
            wanted = self.model.context.parse(y, 1, self.classes)
            assert wanted is not None  # parse refuses a y for models that take none
            there = there[self.test.y == wanted]
            if not len(there):
                raise DataError("The test set has no example of that class.")
        x, labels = self.examples(there[torch.randint(len(there), (n,), generator=generator)])
        told = labels if self.model.conditional else None
        where = self.model.context.empty
        with self.still(), drawing(seed, where.device):
            draw = self.model(x.to(where.device), self.context(told, n)).draw
        return draw.z[0], told

    def _at_hand(self) -> tuple[Examples | None, str]:
        with self._lock:
            if self._found is None:
                try:
                    self._found = self._find(), ""
                except VaekitError as error:
                    self._found = None, sure(error)
            return self._found

    @property
    def _code_is_root(self) -> bool:
        return tuple(self.model.latent.root.shape) == tuple(self.model.latent.out_shape)

    def _surveyed(self) -> Survey:
        x, y, numbers = self._looked_at()
        told = y if self.model.conditional else None
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(x), _AT_ONCE)]
        found = [Posteriors.of(self.model, x[i], None if told is None else told[i]) for i in parts]
        share = torch.tensor([len(x[i]) / len(x) for i in parts], dtype=torch.float64)
        kls = [posteriors.kl for posteriors in found if posteriors.kl is not None]
        of_code = self._code_is_root
        spread = torch.cat([p.draws if of_code else p.code for p in found])
        low, high = (float(value) for value in torch.quantile(x.flatten()[: 2**20].float(), torch.tensor([0.002, 0.998])))
        return Survey(
            z=torch.cat([p.code for p in found]),
            y=y,
            numbers=numbers,
            kl=(torch.stack(kls).double() * share[:, None]).sum(0) if of_code and len(kls) == len(found) else None,
            mean=spread.mean(0),
            sd=spread.std(0) if len(spread) > 1 else torch.ones(self.size),
            normal=of_code and all(p.mean is not None for p in found),
            span=(0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6)),
            frame=Frame.of(x) if self.kind == "image" and self.shape[0] == 1 else None,
        )

    def _looked_at(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Examples of the test set, drawn once; else the model's own samples."""
        most = max(_FEWEST, min(_MOST, _MOST_NUMBERS // prod(self.shape)))
        if self.test is not None:
            numbers = some(len(self.test), most)
            return *self.examples(numbers), numbers
        z, y = self.drawn(min(most, _OWN), None, seed=0)
        return self.model.decode(z, y).float().cpu(), y, None


_MOST, _FEWEST, _OWN = 5000, 200, 1000
"""Examples on a map."""
_MOST_NUMBERS = 2**25
"""That they are made of."""
_AT_ONCE = 250


def sure(error: VaekitError) -> str:
    """An error as a sentence for a page."""
    said = str(error)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")

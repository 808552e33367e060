"""A model as the demo shows it: what it can do, examples of its data where they are at hand, and where their codes lie."""

import itertools
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
from vaekit.distributions import PointMass, tempered
from vaekit.figures import Posteriors
from vaekit.trace import Trace
from vaekit_demo.engine.frame import Frame
from vaekit_demo.engine.pictures import Kind, Pictures, kind_of, pictures
from vaekit_demo.engine.room import Room


@dataclass(frozen=True)
class Survey:
    """What is known of many examples at once.

    Args:
        z: their codes, (N, D).
        y: their class numbers, where there are any.
        numbers: which of the test set they are; None where they are draws from the prior.
        kl: over the test examples, or over what the draws are decoded to, the mean KL of each dimension from its prior, in nats
            (D,); None where it is not a sum over the code's dimensions.
        mean: of each dimension under the aggregated posterior, (D,).
        sd: likewise.
        normal: whether each posterior is a diagonal normal over the code itself, which an ellipse can show.
        frame: where in an image its ink lies.
    """

    z: Tensor
    y: Tensor | None
    numbers: Tensor | None
    kl: Tensor | None
    mean: Tensor
    sd: Tensor
    normal: bool
    frame: Frame | None

    @property
    def order(self) -> list[int]:
        """The dimensions, the one that says most first: by KL, or by spread where that is not known."""
        return (self.sd if self.kl is None else self.kl).argsort(descending=True, stable=True).tolist()

    def idle(self, i: int) -> bool:
        """Whether a dimension is known to say next to nothing of x."""
        return self.kl is not None and bool(self.kl[i] < (IDLE if self.numbers is not None else IDLE / 10))


IDLE = 0.1
"""Nats of KL below which a dimension is idle; of the model's own samples, which hold less than data do, a tenth of it."""


@dataclass(frozen=True)
class Origin:
    """Where a model is from, as may be said to anybody.

    Args:
        load: what `vaekit.load` takes to have it; empty for one that was trained here.
        command: what trains the same into a run, for one that was trained here.
        measured: what was measured of it: the measure, the value and of what.
    """

    load: str = ""
    command: str = ""
    measured: tuple[tuple[str, str, str], ...] = ()


class Shown:
    """A model on show.

    Args:
        key: what the page calls it.
        title: what people call it.
        model: in evaluation mode.
        find: gives held-out examples of what it was trained on, prepared as they were then, when they are first needed; or
            raises a VaekitError that says why there are none.
        origin: where it is from.

    Attributes:
        kind: what its data are shown as.
        size: how many numbers a code has.
        most: how many of its pictures are decoded for one answer.
    """

    def __init__(
        self,
        key: str,
        title: str,
        model: VAE,
        find: Callable[[], Examples],
        origin: Origin | None = None,
    ) -> None:
        self.key, self.title, self.model = key, title, model
        self.origin = origin or Origin()
        self.shape = model.data_shape
        self.kind: Kind = kind_of(self.shape)
        self.size = prod(model.latent.out_shape)
        numbers = max(prod(self.shape), pictures(torch.zeros(1, *self.shape)).size)
        self.most = max(4, _MOST_DECODED // numbers)
        self._find = find
        self._lock = RLock()
        self._found: tuple[Examples | None, str] | None = None
        self._survey: Survey | None = None
        self._span: tuple[float, float] | None = None
        self._room: Room | None = None
        self._passed: Trace | None = None

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
    def binary(self) -> bool:
        """Whether its data are black and white."""
        config = self.model.config
        return config is not None and config.data is not None and config.data.binarize != "none"

    @property
    def immovable(self) -> str:
        """Why a cursor cannot go anywhere among its codes; empty where it can."""
        return f"{self.room.closed}: choose the code of an example, or a random one." if self.room.closed else ""

    @property
    def interpolable(self) -> str:
        """Why no path leads from one code to another; empty where one does."""
        return f"{self.room.closed}: no path leads from one to another." if self.room.closed else ""

    @property
    def room(self) -> Room:
        """Where its codes can be."""
        with self._lock:
            if self._room is None:
                blank = self._blank
                self._room = Room.of(self.model.latent, blank.draw, blank.c)
            return self._room

    @property
    def start(self) -> Tensor:
        """A code to begin with, (D,): the mean of its examples' where codes can be there, else the first."""
        z = self.survey.z[0] if self.room.closed else self.survey.mean
        return self.room.within(z[None])[0]

    def reach(self, i: int) -> tuple[float, float] | None:
        """From where to where dimension i of a code is moved, where it cannot go anywhere; None where it can."""
        block, (mean, sd) = self.room.block(i), (float(self.survey.mean[i]), float(self.survey.sd[i]))
        if block.ends is None or block.support == "simplex":
            return block.ends
        low, high = block.ends
        return max(low, mean - 3 * sd), min(high, mean + 3 * sd)

    @property
    def has_mean(self) -> bool:
        """Whether p(x|z) has a mean to show; draws are shown where it has none."""
        try:
            return bool(len(self._blank.px.mean))
        except NotImplementedError:
            return False

    @property
    def random(self) -> bool:
        """Whether q(z|x) leaves anything to chance."""
        return not all(isinstance(site.q, PointMass) for site in self._blank.draw.sites)

    @property
    def prior(self) -> Distribution:
        """p(z), of one example; of a conditional model under its first class."""
        with self.still():
            found: Distribution = self.model.prior_z(self.context(self._any, 1))
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
        if not isinstance(base, Normal) or not fixed or not self.room.whole:
            return None
        return base.loc.flatten().float().cpu(), base.scale.flatten().float().cpu()

    @property
    def span(self) -> tuple[float, float]:
        """The values of its data that are shown black and white; 0 and 1 where they lie between."""
        with self._lock:
            if self._span is None:
                x = self._few()
                ends = torch.tensor([0.002, 0.998])
                low, high = torch.quantile(x.flatten()[: 2**20].float().cpu(), ends).tolist()
                self._span = (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))
            return self._span

    @property
    def surveyed(self) -> bool:
        """Whether the survey has been made."""
        return self._survey is not None

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
        return self.room.within(z).reshape(-1, *self.model.latent.out_shape)

    def decode(self, z: Tensor, y: int | Tensor | None) -> Pictures:
        """Codes (N, D) as pictures.

        Raises:
            ConfigError: where they are more than are decoded for one answer.
        """
        return self.show(self.at(z), y)

    def show(self, z: Tensor, y: int | Tensor | None) -> Pictures:
        """Codes (N, *out_shape) as pictures; a few at a time, so that they take little memory."""
        self.check(len(z))
        at_once = max(1, _DECODED_AT_ONCE // prod(self.shape))
        labels = y.split(at_once) if isinstance(y, Tensor) and len(y) == len(z) else itertools.repeat(y)
        parts = [self.decoded(some, told) for some, told in zip(z.split(at_once), labels, strict=False)]
        return self.pictures(torch.cat(parts))

    def decoded(self, z: Tensor, y: int | Tensor | None) -> Tensor:
        """Data (N, *shape) at codes (N, *out_shape), as `VAE.decode` gives them."""
        with self.still():
            return self.mean(z.to(self.model.context.empty.device), self.context(y, len(z)))

    def mean(self, z: Tensor, c: Tensor) -> Tensor:
        """The mean of p(x | z, c) at codes (N, *out_shape); where it has none a draw, the same always."""
        px = self.model.px(z, c)
        if self.has_mean:
            return px.mean
        with drawing(0, c.device):
            return px.sample()

    def check(self, n: int) -> None:
        """Refuse to decode too many.

        Raises:
            ConfigError: saying how many are allowed.
        """
        if n > self.most:
            raise ConfigError(f"{n:,} pictures of this model are more than the {self.most:,} that are decoded at a time.")

    def pictures(self, x: Tensor) -> Pictures:
        """Data as pictures."""
        return pictures(x, self.span)

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
        self.check(n)
        if posterior:
            if temperature != 1.0:
                raise ConfigError("The temperature is of the prior: leave it at 1 for the aggregated posterior.")
            return self._of_posteriors(n, y, seed)
        return self._drawn(n, y, seed, temperature)

    def sampled(
        self, n: int, y: int | Tensor | None, seed: int, temperature: float = 1.0, posterior: bool = False
    ) -> tuple[Tensor, Tensor | None, Pictures]:
        """The same, and the pictures they are decoded to, which for the prior are those of `VAE.sample`."""
        if self.has_mean or posterior:
            z, told = self.drawn(n, y, seed, temperature, posterior)
            return z, told, self.show(z, told)
        self.check(n)
        with self.still(), drawing(seed, self.model.context.empty.device):
            z, told, c = self._from_prior(n, y, temperature)
            return z, told, self.pictures(self.model.px(z, c).sample())

    def _drawn(self, n: int, y: int | Tensor | None, seed: int, temperature: float) -> tuple[Tensor, Tensor | None]:
        with self.still(), drawing(seed, self.model.context.empty.device):
            return self._from_prior(n, y, temperature)[:2]

    def _from_prior(self, n: int, y: int | Tensor | None, temperature: float) -> tuple[Tensor, Tensor | None, Tensor]:
        told = self.model.context.sample(n) if y is None else self.model.context.parse(y, n, self.classes)
        c = self.context(told, n)
        prior = self.model.prior_z(c)
        if temperature != 1.0:
            narrowed = tempered(prior, temperature) if self.model.latent.root.support == "real" else None
            if narrowed is None:
                raise ConfigError("The prior of this model is not Gaussian and has no temperature: leave it at 1.")
            prior = narrowed
        return self.model.latent.generate(prior.sample(), c), told, c

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
    def _any(self) -> int | None:
        """A class for a model that is told one."""
        return 0 if self.model.conditional else None

    @property
    def _blank(self) -> Trace:
        """A pass over examples of nothing, which shows what the latents and the likelihood are like."""
        with self._lock, self.still(), drawing(0, self.model.context.empty.device):
            if self._passed is None:
                c = self.context(self._any, 2)
                self._passed = self.model(torch.zeros(2, *self.shape, device=c.device, dtype=c.dtype), c)
            return self._passed

    def _surveyed(self) -> Survey:
        x, y, numbers, drawn = self._looked_at()
        told = y if self.model.conditional else None
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(x), _AT_ONCE)]
        found = [Posteriors.of(self.model, x[i], None if told is None else told[i]) for i in parts]
        share = torch.tensor([len(x[i]) / len(x) for i in parts], dtype=torch.float64)
        kls = [posteriors.kl for posteriors in found if posteriors.kl is not None]
        of_code = self.room.whole
        codes = torch.cat([p.code for p in found]) if drawn is None else drawn
        spread = torch.cat([p.draws for p in found]) if of_code and drawn is None else codes
        return Survey(
            z=codes,
            y=y,
            numbers=numbers,
            kl=(torch.stack(kls).double() * share[:, None]).sum(0) if of_code and len(kls) == len(found) else None,
            mean=spread.mean(0),
            sd=spread.std(0) if len(spread) > 1 else torch.ones(self.size),
            normal=of_code and all(p.mean is not None for p in found),
            frame=Frame.of(x) if self.kind == "image" and self.shape[0] == 1 else None,
        )

    def _looked_at(self) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Examples of the test set with their classes and numbers; else what draws from the prior are decoded to, and these."""
        most = max(_FEWEST, min(_MOST, _MOST_NUMBERS // prod(self.shape)))
        if self.test is not None:
            numbers = some(len(self.test), most)
            return *self.examples(numbers), numbers, None
        z, y = self._drawn(min(most, _OWN), None, 0, 1.0)
        return self.decoded(z, y).float().cpu(), y, None, z.flatten(1).float().cpu()

    def _few(self) -> Tensor:
        """A few examples, or own samples, to see what values they have."""
        if self.test is not None:
            return self.examples(some(len(self.test), _FEW))[0]
        return self.decoded(*self._drawn(_FEW, None, 0, 1.0))


_MOST_DECODED = 2**22
"""Numbers that the pictures of one answer are made of."""
_DECODED_AT_ONCE = 2**21
_FEW = 100
_MOST, _FEWEST, _OWN = 5000, 200, 1000
"""Examples on a map."""
_MOST_NUMBERS = 2**25
"""That they are made of."""
_AT_ONCE = 250


def sure(error: VaekitError) -> str:
    """An error as a sentence for a page."""
    said = str(error)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")

"""The variational autoencoder: three conditional distributions, and what people do with them."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit.blocks import afforded, drawing, evaluation
from vaekit.distributions import tempered
from vaekit.errors import ConfigError, DataError, ShapeError
from vaekit.parts import Context, Decoder, Encoder, Latent, Likelihood, Prior
from vaekit.shapes import Shape
from vaekit.trace import Trace

if TYPE_CHECKING:
    from vaekit.config import Config


class VAE(nn.Module):
    r"""q(z|x,c), p(z|c) and p(x|z,c), made of parts.

    `model(x, c)` is one pass, and gives a Trace that every objective is arithmetic on. The methods below it are for
    people: they take data as floats and labels as class numbers or names, run in evaluation mode without gradients, and all
    but those that sample are deterministic.

    Attributes:
        config: what rebuilds the model; set by `vaekit.build`.
        source: where it was loaded from.
    """

    def __init__(
        self,
        *,
        context: Context,
        encoder: Encoder,
        latent: Latent,
        prior: Prior,
        decoder: Decoder,
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        self.context = context
        self.encoder = encoder
        self.latent = latent
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood
        self.config: Config | None = None
        self.source: str | None = None

    @property
    def data_shape(self) -> Shape:
        """The shape of one example."""
        return tuple(self.likelihood.wiring["data_shape"])

    @property
    def conditional(self) -> bool:
        """Whether the model is told a y."""
        return self.context.out_shape != (0,)

    # The three distributions. Parts see plain batches: S and N are folded before, and unfolded by the Trace.

    def forward(self, x: Tensor, c: Tensor, samples: int = 1) -> Trace:
        """One pass: x (N, *data_shape) and c (N, C) to a Trace with `samples` draws of z an example."""
        draw = self.latent(self._features(x, c), c, self.prior_z(c), samples)
        return Trace(x, c, draw, self.px(draw.z, c))

    def posterior(self, x: Tensor, c: Tensor) -> Distribution:
        """q(root | x, c), batch (N,)."""
        posterior: Distribution = self.latent.posterior(self._features(x, c), c)
        return posterior

    def prior_z(self, c: Tensor) -> Distribution:
        """p(root | c), batch (N,)."""
        prior: Distribution = self.prior(c, self._posterior_on_running_statistics)
        return prior

    def px(self, z: Tensor, c: Tensor) -> Distribution:
        """p(x | z, c), batch (N,), or (S·N,) for z of shape (S, N, *out_shape)."""
        if z.dim() == 2 + len(self.latent.out_shape):
            c = c.expand(z.shape[0], *c.shape).flatten(0, 1)
            z = z.flatten(0, 1)
        likelihood: Distribution = self.likelihood(self.decoder(z.to(c.dtype), c))
        return likelihood

    def _features(self, x: Tensor, c: Tensor) -> Tensor:
        """h; a model in half precision sees x so, though its likelihood scores x as it is."""
        h: Tensor = self.encoder(self.likelihood.seen(x).to(c.dtype), c)
        return h

    def _posterior_on_running_statistics(self, x: Tensor, c: Tensor) -> Distribution:
        """A prior made of posteriors must not see the batch statistics of its own pseudo-inputs, in training either."""
        with evaluation(self.encoder):
            return self.posterior(x, c)

    def begin(self, x: Tensor, c: Tensor) -> None:
        """Show the prior some training examples x (M, *data_shape) with c (M, C), before the first step of training."""
        with torch.no_grad(), evaluation(self):
            self.prior.begin(x, c, self._posterior_on_running_statistics)

    def in_nats(self, trace: Trace, log_px: Tensor, kl: Tensor) -> dict[str, Tensor]:
        """What a loss reports of a pass, in nats per example, by the names that say what it is.

        Args:
            trace: the record of the pass.
            log_px: the mean of log p(x | z, c) over draws and examples.
            kl: the mean of the KL over examples.

        Returns:
            `nelbo`, the negative ELBO, or `profile` where the likelihood's training score is of no one density;
            `reconstruction`; and `kl`, or `kl_mc` where it was estimated from the draws. `reconstruction` alone where the
            posterior has no density, since then nothing bounds log p(x). None carries a gradient.
        """
        log_px, kl = log_px.detach(), kl.detach()
        if not self.latent.has_density:
            return {"reconstruction": -log_px}
        return {
            "nelbo" if self.likelihood.exact else "profile": kl - log_px,
            "reconstruction": -log_px,
            "kl" if trace.closed else "kl_mc": kl,
        }

    # For people.

    def sample(
        self,
        n: int,
        y: Any = None,
        temperature: float = 1.0,
        draw: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """New data: z from the prior, then the mean of p(x | z, c).

        Args:
            n: how many.
            y: class numbers or names, one for all or one each; a conditional model draws them where none are given.
            temperature: what the prior's standard deviation is multiplied by; only for Gaussian priors.
            draw: whether to draw x from p(x | z, c) rather than take its mean.
            seed: what the draws depend on; torch's own generator where there is none.

        Returns:
            (n, *data_shape).
        """
        if n < 1:
            raise ConfigError(f"n is {n}: ask for at least one sample")
        with self._people(), drawing(seed, self._device):
            given = self.context.sample(n) if y is None else y
            c = self._context(given, n)
            prior = self.prior_z(c)
            if temperature != 1.0:
                prior = self._tempered(prior, temperature)
            z = self.latent.generate(prior.sample(), c)

            def drawn(part: slice) -> Tensor:
                px = self.px(z[part], c[part])
                return px.sample() if draw else self._mean(px, fresh=True)

            return self._in_parts(n, drawn)

    def encode(self, x: Any, y: Any = None) -> Tensor:
        """The deterministic code of each example: z (N, *latent.out_shape) from x (N, *data_shape)."""
        with self._people():
            x = self._data(x)
            c = self._context(y, len(x))
            return self._in_parts(len(x), lambda part: self._code(x[part], c[part]))

    def decode(self, z: Any, y: Any = None) -> Tensor:
        """The mean of p(x | z, c): x (N, *data_shape) from z (N, *latent.out_shape)."""
        with self._people():
            z = self._tensor(z, self.latent.out_shape, "z")
            c = self._context(y, len(z))
            return self._in_parts(len(z), lambda part: self._mean(self.px(z[part], c[part])))

    def reconstruct(self, x: Any, y: Any = None) -> Tensor:
        """The mean of p(x | z, c) at the code of each example, (N, *data_shape)."""
        with self._people():
            x = self._data(x)
            c = self._context(y, len(x))
            return self._in_parts(len(x), lambda part: self._mean(self.px(self._code(x[part], c[part]), c[part])))

    def interpolate(self, a: Any, b: Any, steps: int = 9, y: Any = None) -> Tensor:
        """A path of decoded latents from `a` to `b`, which goes as the latent's `path` does.

        Args:
            a: one example (*data_shape).
            b: another.
            steps: how many images, both ends counted.
            y: one label for both, or one each; on the way the context goes evenly from one to the other.

        Returns:
            (steps, *data_shape).
        """
        if steps < 2:
            raise ConfigError(f"steps is {steps}: an interpolation has at least its two ends")
        with self._people():
            ends = torch.cat([self._data(a, single=True), self._data(b, single=True)])
            c = self._context(y, 2)
            codes = self._code(ends, c)
            z = self.latent.path(codes[0], codes[1], steps)
            t = torch.linspace(0, 1, steps, device=c.device, dtype=c.dtype)[:, None]
            c = c[:1] + t * (c[1:] - c[:1])
            return self._in_parts(steps, lambda part: self._mean(self.px(z[part], c[part])))

    def log_likelihood(self, x: Any, y: Any = None, k: int = 200, seed: int | None = 0) -> Tensor:
        r"""The importance-weighted bound on log p(x | c), which tightens towards it as `k` grows.

        $\log \frac1k \sum_i p(x, z_i \mid c) / q(z_i \mid x, c)$, accumulated in float64.

        Args:
            x: (N, *data_shape).
            y: as for `encode`.
            k: importance samples an example.
            seed: what the draws depend on.

        Returns:
            (N,), in nats per example, float64.

        Raises:
            ConfigError: where the posterior has no density, so that there is no bound.

        References:
            Importance Weighted Autoencoders (Burda, Grosse, Salakhutdinov; 2015), https://arxiv.org/abs/1509.00519, eq. 8.
        """
        if k < 1:
            raise ConfigError(f"k is {k}: at least one importance sample is needed")
        if not self.latent.has_density:
            raise ConfigError(f"latent {self.latent.name!r} has no density, and so this model no bound on log p(x)")
        with self._people(), drawing(seed, self._device):
            x = self._data(x)
            c = self._context(y, len(x))
            total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
            at_once = max(1, min(k, _ELEMENTS_AT_ONCE // (len(x) * max(prod(self.data_shape), prod(self.likelihood.in_shape)))))
            for start in range(0, k, at_once):
                weights = self(x, c, min(at_once, k - start)).log_weight().double()
                total = torch.logaddexp(total, weights.logsumexp(0))
            return total - math.log(k)

    def save(self, folder: str | Path) -> Path:
        """Write config.json, model.safetensors and README.md, all that `vaekit.load` needs."""
        from vaekit import io

        return io.save(self, folder)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str | None = None,
        license: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
    ) -> str:
        """Publish the model on the Hugging Face Hub: its config, weights and card, in one commit and nothing else.

        A model that was loaded from a run takes along some of its pictures, and its card the numbers and the training command.

        Args:
            repo: `user/name`; is made where it is missing.
            private: whether only its owner may see it; as the account has it by default.
            revision: the branch, made where it is missing; main by default.
            message: of the commit.
            license: its id on the Hub, such as `apache-2.0`; none is assumed, so one has to be given.
            create_pr: whether to propose the commit in a pull request.
            token: that may write; the one of HF_TOKEN or `hf auth login` by default.

        Returns:
            The address of the commit, or of the pull request.

        Raises:
            VaekitError: saying what is wrong; nothing is asked of the Hub where that is the model.
        """
        from vaekit import publish

        return publish.push(
            self,
            repo,
            private=private,
            revision=revision,
            message=message,
            license=license,
            create_pr=create_pr,
            token=token,
        ).url

    # What the people's methods share.

    @contextmanager
    def _people(self) -> Iterator[None]:
        with torch.no_grad(), evaluation(self), afforded(self.data_shape):
            yield

    def _in_parts(self, n: int, compute: Callable[[slice], Tensor]) -> Tensor:
        """What is computed of n examples, of so many at once that little but the result takes memory."""
        at_once = max(1, _ELEMENTS_AT_ONCE // max(prod(self.data_shape), prod(self.likelihood.in_shape)))
        first = compute(slice(at_once))
        if n <= at_once:
            return first
        done = first.new_empty(n, *first.shape[1:])
        done[:at_once] = first
        for start in range(at_once, n, at_once):
            done[start : start + at_once] = compute(slice(start, start + at_once))
        return done

    @property
    def _device(self) -> torch.device:
        return self.context.empty.device

    def _code(self, x: Tensor, c: Tensor) -> Tensor:
        code: Tensor = self.latent.code(self._features(x, c), c)
        return code

    def _context(self, y: Any, n: int) -> Tensor:
        classes = self.config.data.classes if self.config and self.config.data else ()
        y = self.context.parse(y, n, classes)
        c: Tensor = self.context(y if y is None else y.to(self._device), n)
        return c

    def _mean(self, px: Distribution, fresh: bool = False) -> Tensor:
        """The mean of p(x | z, c); where it has no closed form a draw, the same one always unless a fresh one is wanted."""
        try:
            return px.mean
        except NotImplementedError:
            name = self.likelihood.name
            warnings.warn(f"likelihood {name!r} has no mean in closed form: draws stand for it", stacklevel=4)
            with nullcontext() if fresh else drawing(0, self._device):
                return px.sample()

    def _data(self, x: Any, single: bool = False) -> Tensor:
        x = torch.as_tensor(x)
        if x.dtype == torch.uint8:
            raise DataError("x is of bytes; a model takes floats in [0, 1]: give x / 255")
        data = self._tensor(x[None] if single else x, self.data_shape, "x")
        padded = self.encoder.takes_padding and len(self.data_shape) == 2
        if not torch.isfinite(data.nan_to_num(0) if padded else data).all():
            raise DataError("x holds values that are not finite")
        return data

    def _tensor(self, value: Any, shape: Shape, name: str) -> Tensor:
        tensor = torch.as_tensor(value).to(self._device, torch.promote_types(self.context.empty.dtype, torch.float32))
        if tuple(tensor.shape[1:]) != tuple(shape) or not len(tensor):
            wanted = ", ".join(map(str, shape))
            raise ShapeError(f"{name} has shape {tuple(tensor.shape)}; this model takes (N, {wanted})")
        return tensor

    def _tempered(self, prior: Distribution, temperature: float) -> Distribution:
        if not 0 <= temperature < math.inf:
            raise ConfigError(f"temperature is {temperature}: it is a finite number, 0 or more")
        scaled = tempered(prior, temperature) if self.latent.root.support == "real" else None
        if scaled is None:
            raise ConfigError(
                f"prior {self.prior.name!r} is not Gaussian on a real space: it has no temperature; leave it at 1"
            )
        return scaled


_ELEMENTS_AT_ONCE = 8_000_000  # of data as they are decoded

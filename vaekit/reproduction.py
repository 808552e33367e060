"""Published and exact numbers, trained for and measured again, each beside what was done otherwise than there."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit import io
from vaekit.blocks import drawing, evaluation
from vaekit.data.batches import Batches
from vaekit.data.prepare import load
from vaekit.data.transform import DataOptions
from vaekit.distributions import multivariate_normal
from vaekit.errors import ConfigError, suggestion
from vaekit.evaluation import bound, log_likelihood
from vaekit.model import VAE
from vaekit.progress import counting
from vaekit.recipes import Recipe
from vaekit.resuming import continued


@dataclass(frozen=True)
class Comparison:
    """A number beside the one that it is compared with.

    Args:
        what: it is of, with its unit.
        reference: the number to compare with: published, or computed exactly.
        found: the number here.
        error: its standard error over examples, where it is a mean; where the reference is a mean over the same examples, that
            of the difference.
        low: what it must reach to count as reproduced.
        high: what it must not exceed; None where more is as good.
    """

    what: str
    reference: float
    found: float
    error: float | None
    low: float
    high: float | None

    @property
    def holds(self) -> bool:
        """Whether the number is reproduced."""
        return self.low <= self.found and (self.high is None or self.found <= self.high)


@dataclass(frozen=True)
class Measured:
    """A trained model and what is measured of it on the test set.

    Args:
        model: the best one.
        x: the test set, or its first examples, (n, *data_shape).
        nelbo: the negative ELBO of the whole test set, in nats per example.
        log_p: the importance-weighted log-likelihood of each x, (n,).
    """

    model: VAE
    x: Tensor
    nelbo: float
    log_p: Tensor

    @property
    def nll(self) -> float:
        """The mean negative log-likelihood, importance-weighted."""
        return -self.log_p.mean().item()

    @property
    def error(self) -> float:
        """Its standard error over examples."""
        return _error(self.log_p)


@dataclass(frozen=True)
class Reproduction:
    """What to train, how to measure it, and what to compare it with.

    Args:
        name: to ask for it by.
        summary: one line.
        source: where the number was published, or the experiment.
        setting: what must be known to compare: data and binarisation, split, choice of the model, importance samples; and what
            differs from the source.
        runs: what is trained, by name.
        compare: the measurements of all runs, by name, as comparisons.
        k: importance samples an example.
        n: examples of the test set for the likelihood, the first of them; all where there is none.
    """

    name: str
    summary: str
    source: str
    setting: Mapping[str, str]
    runs: Mapping[str, Recipe]
    compare: Callable[[Mapping[str, Measured]], list[Comparison]]
    k: int
    n: int | None = None


@dataclass(frozen=True)
class Reproduced:
    """What came of it.

    Args:
        name: of the reproduction.
        path: of the folder with the runs and reproduction.json.
        epochs: for which each run was trained instead of its own length; nothing counts as reproduced then.
        comparisons: with the reference numbers.
    """

    name: str
    path: Path
    epochs: int | None
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every number is reproduced, at full length."""
        return self.epochs is None and all(comparison.holds for comparison in self.comparisons)


def names() -> list[str]:
    """The names of what can be reproduced."""
    return sorted(_ALL)


def find(name: str) -> Reproduction:
    """The reproduction of that name.

    Raises:
        ConfigError: saying which there are.
    """
    if name not in _ALL:
        raise ConfigError(f"nothing to reproduce is called {name!r}{suggestion(name, _ALL)} (there are: {', '.join(names())})")
    return _ALL[name]


def reproduce(
    name: str,
    *,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    data_root: str | Path | None = None,
    output: str | Path = "runs",
    progress: bool = True,
) -> Reproduced:
    """Train, measure, and compare with the published numbers. What was trained before is not trained again.

    Args:
        name: of the reproduction.
        epochs: to train for instead, to try it out.
        seed: everything random depends on it.
        device: to train and measure on.
        data_root: where named data sets are.
        output: the folder to make the folder of the runs in.
        progress: whether to say on standard error how it goes.

    Raises:
        VaekitError: one that says what is wrong; KeyboardInterrupt where a run was stopped, which the next call continues.
    """
    wanted = find(name)
    about = "".join([f"-seed{seed}" if seed else "", "" if epochs is None else f"-epochs{epochs}"])
    folder = Path(output) / f"reproduce-{name}{about}"
    length = {} if epochs is None else {"epochs": epochs}
    measured: dict[str, Measured] = {}
    for label, recipe in wanted.runs.items():
        training = {**length, "seed": seed, "device": device}
        if recipe.training.get("schedule") == "steps" and epochs is not None:
            training["milestones"] = [epoch for epoch in recipe.training["milestones"] if epoch <= epochs] or [epochs]
        run = continued(label, folder, recipe.but(None, {}, {}, training), data_root=data_root, progress=progress)
        if run.status == "interrupted":
            raise KeyboardInterrupt
        test = load(recipe.source, DataOptions(**recipe.data), data_root).test
        model = io.load(run.path, device=device)
        batches = Batches(test, 100, device=model.context.empty.device)
        first = Batches(test.take(torch.arange(len(test))[: wanted.n]), 100, device=model.context.empty.device)
        with counting(f"{label}: importance-weighted likelihood, examples", first.examples, progress) as tell:
            log_p = log_likelihood(model, first, wanted.k, seed=seed, tell=tell)
        x = torch.cat([x for x, _ in first])
        measured[label] = Measured(model, x, bound(model, batches, seed=seed)["nelbo"], log_p)
    found = Reproduced(name, folder, epochs, wanted.compare(measured))
    _write(found, wanted)
    return found


def _write(found: Reproduced, wanted: Reproduction) -> None:
    comparisons = [{**asdict(comparison), "reproduced": comparison.holds} for comparison in found.comparisons]
    about = {"source": wanted.source, "setting": dict(wanted.setting), "epochs": found.epochs}
    document = {"vaekit": version("vaekit"), "name": wanted.name, **about, "comparisons": comparisons}
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    io.write_whole(found.path / "reproduction.json", lambda path: path.write_text(text, encoding="utf-8"))


def _error(values: Tensor) -> float:
    return (values.std() / math.sqrt(len(values))).item()


def _near(what: str, reference: float, found: float, tolerance: float, error: float | None = None) -> Comparison:
    return Comparison(what, reference, found, error, reference - tolerance, reference + tolerance)


# A linear model of Gaussian data, whose likelihood has a closed form.


def _linear_data() -> tuple[Tensor, Tensor]:
    """W (6, 2), and 8,000 draws of x = W z + noise with z ~ N(0, I₂) and noise ~ N(0, I₆)."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(6, 2, generator=generator)
    z, noise = torch.randn(8000, 2, generator=generator), torch.randn(8000, 6, generator=generator)
    return w, z @ w.T + noise


def _linear(measured: Mapping[str, Measured]) -> list[Comparison]:
    found = measured["vae"]
    exact = _exact(found.model, found.x)
    generating = _exact_of(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(6), found.x)
    apart = (found.log_p - exact).abs().max().item()

    def beside(what: str, reference: Tensor, log_p: Tensor, tolerance: float) -> Comparison:
        return _near(what, -reference.mean().item(), -log_p.mean().item(), tolerance, _error(log_p - reference))

    return [
        beside("importance-weighted NLL, against the exact one of the trained model", exact, found.log_p, 0.002),
        _near("its largest error for one example", 0.0, apart, 0.05),
        beside("negative ELBO, against the same (the optimal posterior is diagonal)", exact, _elbo(found.model, found.x), 0.01),
        beside("exact NLL of the trained model, against that of what made the data", generating, exact, 0.02),
    ]


def _elbo(model: VAE, x: Tensor) -> Tensor:
    """The ELBO of each example, over 500 draws of z, (n,)."""
    with torch.no_grad(), evaluation(model), drawing(0, x.device):
        trace = model(x, model.context(None, len(x)), 500)
        elbo: Tensor = trace.log_px().mean(0) - trace.kl()
    return elbo.double().cpu()


def _exact(model: VAE, x: Tensor) -> Tensor:
    """log p(x) of a model whose decoder is linear and whose variance is 1, (n,)."""
    b, *columns = model.decode(torch.cat([torch.zeros(1, 2), torch.eye(2)])).cpu()
    return _exact_of(torch.stack([column - b for column in columns], 1), b, x.cpu())


def _exact_of(w: Tensor, b: Tensor, x: Tensor) -> Tensor:
    covariance = w.double() @ w.double().T + torch.eye(len(w), dtype=torch.float64)
    log_p: Tensor = multivariate_normal(b.double(), torch.linalg.cholesky(covariance)).log_prob(x.double())
    return log_p


_LINEAR = Reproduction(
    name="linear-gaussian",
    summary="a linear VAE of Gaussian data, whose exact likelihood is known; seconds",
    source="Don't Blame the ELBO! (Lucas, Tucker, Grosse, Norouzi; 2019), https://arxiv.org/abs/1911.02469, section 4",
    setting={
        "data": "8,000 draws of x = W z + noise, z of 2 dimensions, x of 6, unit noise",
        "split": "6,400 to train on, 800 to validate, 800 to test",
        "selection": "lowest validation loss",
        "k": "2,000 importance samples, the whole test set",
    },
    runs={
        "vae": Recipe(
            source=_linear_data()[1],
            parts={
                "encoder": {"name": "mlp", "hidden": []},
                "latent": {"name": "gaussian", "features": 2},
                "decoder": {"name": "mlp", "hidden": []},
                "likelihood": {"name": "gaussian", "variance": "fixed", "std": 1.0},
            },
            training={"epochs": 40, "batch_size": 100, "lr": 0.01, "schedule": "cosine"},
        )
    },
    compare=_linear,
    k=2000,
)


# Static MNIST.


def _mnist(hidden: list[int], features: int, activation: str = "relu", **latent: Any) -> dict[str, Any]:
    return {
        "encoder": {"name": "mlp", "hidden": hidden, "activation": activation},
        "latent": {"name": "gaussian", "features": features, **latent},
        "prior": "normal",
        "decoder": {"name": "mlp", "hidden": hidden[::-1], "activation": activation},
        "likelihood": "bernoulli",
    }


_STATIC = {"binarize": "fixed", "validation": 10_000}
_STATIC_SETTING = {
    "data": "MNIST, each pixel drawn once with seed 0; the source has another fixed draw, that of Larochelle and Murray",
    "split": "50,000 to train on, 10,000 to validate, the 10,000 of the test set",
    "selection": "lowest validation loss, of epochs",
}

_Z128 = Reproduction(
    name="static-mnist-z128",
    summary="784-256-256-128 with softplus scales, 65,000 steps of RMSprop; log p -97.10",
    source="https://github.com/altosaar/variational-autoencoder, README",
    setting={**_STATIC_SETTING, "k": "128 importance samples, the whole test set"},
    runs={
        "vae": Recipe(
            source="mnist",
            parts=_mnist([256, 256], 128, scale="softplus"),
            data=_STATIC,
            training={"epochs": 166, "batch_size": 128, "lr": 0.001, "optimizer": "rmsprop"},
        )
    },
    compare=lambda measured: [
        _near("NLL, nats per example", 97.10, measured["vae"].nll, 1.0, measured["vae"].error),
        _near("negative ELBO, nats per example", 103.31, measured["vae"].nelbo, 1.0),
    ],
    k=128,
)

_Z40 = Reproduction(
    name="static-mnist-z40",
    summary="784-400-40, 500 epochs of Adam; NLL 89.78",
    source="https://github.com/clementchadebec/benchmark_VAE, reproducibility table, examples/scripts/reproducibility/vae.py",
    setting={**_STATIC_SETTING, "k": "200 importance samples, the whole test set"},
    runs={
        "vae": Recipe(
            source="mnist",
            parts=_mnist([400], 40),
            data=_STATIC,
            training={
                **{"epochs": 500, "batch_size": 100, "lr": 1e-4},
                **{"schedule": "steps", "milestones": [200, 350], "gamma": 10**-0.2},
            },
        )
    },
    compare=lambda measured: [_near("NLL, nats per example", 89.78, measured["vae"].nll, 0.5, measured["vae"].error)],
    k=200,
)


# Importance-weighted training.


def _iwae(epochs: int, batch_size: int, milestones: list[int]) -> dict[str, Recipe]:
    return {
        f"k{k}": Recipe(
            source="mnist",
            parts={**_mnist([200, 200], 50, "tanh"), "loss": {"name": "iwae", "samples": k}},
            data={"binarize": "dynamic"},
            training={
                **{"epochs": epochs, "batch_size": batch_size, "lr": 1e-3},
                **{"schedule": "steps", "milestones": milestones, "gamma": 10 ** (-1 / 7)},
            },
        )
        for k in (1, 5, 50)
    }


def _ordered(measured: Mapping[str, Measured]) -> list[Comparison]:
    """Gains of more samples, example by example: they must be above nothing by two standard errors."""
    found = []
    for fewer, more, published in (("k1", "k5", 86.76 - 85.54), ("k5", "k50", 85.54 - 84.78)):
        gain = measured[more].log_p - measured[fewer].log_p
        what = f"NLL of {fewer[1:]} less that of {more[1:]} samples, nats per example"
        found.append(Comparison(what, published, gain.mean().item(), _error(gain), 2 * _error(gain), None))
    return found


_IWAE_SETTING = {
    "data": "MNIST, dynamically binarised; the test set drawn once",
    "split": "55,000 to train on, 5,000 to validate, the test set; the source trains on all 60,000",
    "selection": "lowest validation loss; the source takes the last model",
    "optimizer": "Adam as torch has it; the source has a β₁ of 0.99 and an ε of 1e-4",
}
_IWAE_SOURCE = (
    "Importance Weighted Autoencoders (Burda, Grosse, Salakhutdinov; 2015), https://arxiv.org/abs/1509.00519, table 1"
)

_ORDER = Reproduction(
    name="iwae-order",
    summary="one layer of 50 latents trained with 1, 5 and 50 importance samples: more is better; 30 epochs in place of 3,280",
    source=_IWAE_SOURCE,
    setting={
        **_IWAE_SETTING,
        "length": "30 epochs of batches of 100; the source has 3,280 of batches of 20, so that only the order can be compared",
        "k": "500 importance samples, the first 2,000 examples of the test set",
    },
    runs=_iwae(30, 100, [1, 4, 13]),
    compare=_ordered,
    k=500,
    n=2000,
)

_IWAE = Reproduction(
    name="iwae-mnist",
    summary="the same at full length: NLL 86.76, 85.54 and 84.78; for a GPU, hours",
    source=_IWAE_SOURCE,
    setting={**_IWAE_SETTING, "k": "5,000 importance samples, the whole test set"},
    runs=_iwae(3280, 20, [1, 4, 13, 40, 121, 364, 1093]),
    compare=lambda measured: [
        _near(f"NLL with {label[1:]} samples, nats per example", published, measured[label].nll, 0.5, measured[label].error)
        for label, published in (("k1", 86.76), ("k5", 85.54), ("k50", 84.78))
    ],
    k=5000,
)

_ALL = {reproduction.name: reproduction for reproduction in (_LINEAR, _Z128, _Z40, _ORDER, _IWAE)}

"""What a rank does in tests/test_ranks.py: train a small model in float64 on batches that bring their noise, and say how."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaekit
from vaekit import checkpoint, distributions
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.ranks import Ranks, joined
from vaekit.trainer import Trainer
from vaekit.training import Report, TrainingOptions


class FromBatch(vaekit.Latent):
    """A Gaussian posterior whose noise is a function of the features: it comes with the batch, whoever computes on it."""

    name = "from-batch"

    def __init__(self, in_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_shape[0], 4)
        self.root = vaekit.Space((2,))
        self.out_shape = (2,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        loc, s = self.head(h).chunk(2, 1)
        return distributions.normal(loc, s.exp())

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> vaekit.Draw:
        q: Any = self.posterior(h, c)
        z = (q.mean + q.stddev * (1000 * h.detach()[:, :2]).sin())[None]
        return vaekit.Draw(z, (vaekit.Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self.posterior(h, c).mean


class Adversarial(vaekit.Loss):
    """A critic tells codes from the prior, and the encoder's side is to fool it; no pass reaches the parameters of both."""

    name = "adversarial"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": list(model.parameters()), "critic": list(self.critic.parameters())}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        trace = model(x, c)
        z = trace.draw.z[0]
        if player == "model":
            nelbo = -trace.elbo().mean()
            return vaekit.Terms(nelbo + self.critic(z).mean(), {"nelbo": nelbo.detach()})
        score = self.critic(z.detach()).mean() - self.critic(z.detach().flip(1) ** 2).mean()
        return vaekit.Terms(score, {"score": score.detach()})


class Idle(vaekit.Loss):
    """The textbook's, with a parameter that it never reaches."""

    name = "idle"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(3))
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": [*model.parameters(), self.idle]}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        elbo = model(x, c).elbo().mean()
        return vaekit.Terms(-elbo, {"nelbo": -elbo.detach()})


class Annealed(vaekit.Loss):
    """The textbook's, weighted more at each step."""

    name = "annealed"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.out_shape = ()

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        if self.training:
            self.count += 1
        elbo = model(x, c).elbo().mean()
        return vaekit.Terms(-elbo * (1 - 0.5**self.count), {"nelbo": -elbo.detach()})


class Normed(vaekit.Loss):
    """The textbook's, and batch norm, whose statistics each rank gathers of its own examples."""

    name = "normed"

    def __init__(self, data_shape: vaekit.Shape, root: vaekit.Space, examples: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.out_shape = ()

    def players(self, model: vaekit.VAE) -> dict[str, list[nn.Parameter]]:
        return {"model": [*model.parameters(), *self.norm.parameters()]}

    def forward(self, model: vaekit.VAE, x: Tensor, c: Tensor, player: str = "model") -> vaekit.Terms:
        trace = model(x, c)
        elbo = trace.elbo().mean()
        return vaekit.Terms(self.norm(trace.draw.z[0]).exp().mean() - elbo, {"nelbo": -elbo.detach()})


LOSSES = {"idle": Idle, "annealed": Annealed, "adversarial": Adversarial, "normed": Normed}


def trainer(loss: str, options: TrainingOptions, ranks: Ranks) -> Trainer:
    """A small model in float64, the same on every rank."""
    torch.manual_seed(0)
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 4, 4), encoder={"hidden": [16]}, decoder={"hidden": [16]}))
    model.latent = FromBatch((16,), 0)
    model.decoder = type(model.decoder)((2,), (1, 4, 4), 0, hidden=(16,))
    model.prior = type(model.prior)(model.latent.root, (1, 4, 4), 0)
    whole = LOSSES[loss]((1, 4, 4), model.latent.root, 90)
    return Trainer(model.double(), whole.double(), options, ranks=ranks)


def batches(ranks: Ranks, shuffle: bool = True) -> Batches:
    """Pixels that are drawn anew, in batches the last of which is smaller than the others and no multiple of the ranks."""
    x = torch.rand(91, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return Batches(Examples(x), 32, shuffle=shuffle, dynamic=True, share=(ranks.rank, ranks.size))


def train(folder: Path, loss: str, given: dict[str, Any]) -> None:
    """Train, and leave parameters and metrics of this rank in a file."""
    options = TrainingOptions(epochs=3, lr=1e-2, precision="fp32", **given)
    with joined(options) as ranks:
        found = trainer(loss, options, ranks)
        reports = list(found.run(batches(ranks), batches(ranks, False)))
        tensors, _ = found.state()
        if ranks.main or options.strategy == "ddp":
            weights = {name: t.flatten().tolist() for name, t in tensors.items() if name.startswith("step.")}
            text = json.dumps({"weights": weights, "terms": [report.terms for report in reports]})
            (folder / f"{ranks.rank}.json").write_text(text)
        found.leave()


def stopped(folder: Path, strategy: str, stops: list[int]) -> None:
    """Leave in files the validation terms and weights of a run with batch norm, and of some that were stopped and went on."""
    options = TrainingOptions(epochs=4, lr=1e-2, precision="fp32", strategy=strategy)
    with joined(options) as ranks:
        found = {}
        for stop in (None, *stops):
            last = trainer("normed", options, ranks)
            reports = list(until(last, stop, ranks))
            if stop:
                state = kept(last, folder / str(stop), ranks)
                last = trainer("normed", options, ranks)
                reports += goes_on(last, state, ranks)
            terms = [report.terms for report in reports if not report.partial and report.split == "validation"]
            weights = {name: tensor.flatten().tolist() for name, tensor in last.state()[0].items() if name.startswith("step.")}
            found[str(stop)] = {"terms": terms, "weights": weights if ranks.main else {}}
            last.leave()
        (folder / f"{ranks.rank}.json").write_text(json.dumps(found))


def begin(folder: Path, steps: int) -> None:
    """Train so many steps, and leave a checkpoint."""
    with joined(OPTIONS) as ranks:
        first = trainer("idle", OPTIONS, ranks)
        list(until(first, steps, ranks))
        kept(first, folder, ranks)


def end(folder: Path) -> None:
    """Go on from a checkpoint, and leave parameters and metrics of this rank in a file."""
    with joined(OPTIONS) as ranks:
        last = trainer("idle", OPTIONS, ranks)
        reports = goes_on(last, checkpoint.read(folder), ranks)
        weights = {name: tensor.flatten().tolist() for name, tensor in last.step.state_dict().items()}
        text = json.dumps({"weights": weights, "terms": [report.terms for report in reports]})
        (folder / f"{ranks.rank}.json").write_text(text)


OPTIONS = TrainingOptions(epochs=3, lr=1e-2, precision="fp32")


def until(trainer: Trainer, steps: int | None, ranks: Ranks) -> Iterator[Report]:
    """Reports up to a number of steps, which has to be one after which ranks talk."""

    def ask() -> None:
        if trainer.steps == steps:
            trainer.stop()

    trainer.after_step = ask
    return trainer.run(batches(ranks), batches(ranks, False), every=1e-9)


def kept(trainer: Trainer, folder: Path, ranks: Ranks) -> checkpoint.State:
    """A checkpoint, written by one rank and read by all."""
    state = trainer.state()
    with ranks.main_first():
        if ranks.main:
            checkpoint.write(folder, state)
        found = checkpoint.read(folder)
    assert found is not None
    return found


def goes_on(trainer: Trainer, state: checkpoint.State | None, ranks: Ranks) -> list[Report]:
    assert state is not None
    trainer.settle(batches(ranks))
    trainer.load_state(*state)
    return list(trainer.run(batches(ranks), batches(ranks, False)))


def seen(folder: Path) -> None:
    """Leave in a file which examples this rank sees in two epochs."""
    with joined(TrainingOptions()) as ranks:
        x = torch.arange(91.0)[:, None]
        own = Batches(Examples(x), 32, shuffle=True, share=(ranks.rank, ranks.size))
        epochs = []
        for own.epoch in range(2):
            epochs.append([int(value) for batch, _ in own for value in batch[:, 0]])
        (folder / f"{ranks.rank}.json").write_text(json.dumps(epochs))


def twice(folder: Path) -> None:
    """Train two runs, one after the other, in one job."""
    for name in ("a", "b"):
        vaekit.fit("digits", encoder={"hidden": [8]}, epochs=1, output=folder, name=name, progress=False)


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    try:
        {"train": train, "stopped": stopped, "begin": begin, "end": end, "seen": seen, "twice": twice}[what](
            Path(folder), *map(json.loads, rest)
        )
    except vaekit.VaekitError as error:
        sys.exit(f"error: {error}")

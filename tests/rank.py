"""What a rank does in tests/test_ranks.py: train a small model in float64 on batches that bring their noise, and say how."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaekit
from vaekit import distributions
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.ranks import Ranks, joined
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions


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


LOSSES = {"idle": Idle, "annealed": Annealed, "adversarial": Adversarial}


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
        {"train": train, "seen": seen, "twice": twice}[what](Path(folder), *map(json.loads, rest))
    except vaekit.VaekitError as error:
        sys.exit(f"error: {error}")

"""How fast training on MNIST is, beside others that train the same network on the same images.

    python tests/benchmarks/training.py --data-root FOLDER [--network mlp|conv|lstm] [--pythae FOLDER] [--rounds 3]
    python tests/benchmarks/training.py --data-root FOLDER --bounds
    python tests/benchmarks/training.py --data-root FOLDER --turns --rounds 20

Each contestant runs in a fresh process of its own, all of them once a round, so that what else the machine does hits all alike.
Ratios are taken within a round; what is printed is their median.

vaekit         `vaekit.fit` as a user calls it
pythae         its own pipeline, trainer and loss, of the same layers; `pip install --no-deps --target FOLDER pythae==0.1.2
               imageio cloudpickle` puts it where it is in nobody's way
plain          the usual script: a DataLoader that converts image by image, `.item()` each step, fp32
plain-1        the same with a worker; plain-2 with two
hand           a loop by hand: the images held as bytes, batches indexed whole, fused Adam, in the precision that vaekit used
hand-compiled  the same with its loss compiled; hand-fp32, hand-compiled-bf16, …-last (channels_last) are told what to do
floor          only the matrix products of a step, in fp32 and in bf16, and only the optimizer

All train on 55,000 images in batches of the same size, score another 5,000 after each epoch, and save a model. vaekit gives a
bound on the test set and pictures besides, which count in its seconds from end to end.
Steps are timed from the second epoch on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a child imports what its contestant needs, and no more: imports count
    import torch
    from torch import Tensor, nn

USUAL = ("vaekit", "pythae", "plain", "hand", "hand-compiled", "floor")
TRAINED = 55_000  # of the 60,000; the others are for validation, as vaekit cuts them
LATENTS = 20
PARTS: dict[str, dict[str, Any]] = {
    "mlp": {
        "encoder": {"name": "mlp", "hidden": [400]},
        "decoder": {"name": "mlp", "hidden": [400]},
    },
    "conv": {
        "encoder": {"name": "conv", "width": 32, "depth": 2, "norm": "none"},
        "decoder": {"name": "transposed-conv", "width": 32, "depth": 2, "norm": "none"},
    },
    "lstm": {  # the layers of the recipe lstm-mnist
        "encoder": {"name": "lstm", "hidden": 28, "dense": [200, 200]},
        "decoder": {
            "name": "transposed-conv",
            "dense": [24],
            "channels": [32, 64, 64],
            "strides": [1, 2, 2],
            "norm": "none",
        },
    },
}
TURN = 100
"""Steps of a turn."""
PLAIN_ASKED = {"mlp": 4.0, "conv": 1.6, "lstm": 1.8}

Blocks = list[tuple[int, int, int, float]]
"""Of consecutive steps: the epoch, how many images, how many steps, how many seconds."""


@dataclass(frozen=True)
class Job:
    """What a child is to do.

    Args:
        contestant: who it is.
        network: mlp, conv or lstm.
        epochs: to train for.
        steps: a block; 0 for an epoch.
        batch_size: images a step.
        device: cpu or cuda.
        data_root: the folder that torchvision finds MNIST in.
        folder: to write to.
        pythae: the folder that pythae is in; empty where it is installed.
        precision: fp32, bf16 or auto; empty for what is usual.
        compile: auto, on or off; empty for what is usual.
        seed: of the run.
    """

    contestant: str
    network: str
    epochs: int
    steps: int
    batch_size: int
    device: str
    data_root: str
    folder: str
    pythae: str
    precision: str
    compile: str
    seed: int = 0


# In the child: the contestants. Each gives its blocks of steps, and saves a model before it returns.


def run_vaekit(job: Job) -> dict[str, Any]:
    """`vaekit.fit`; its own count of images a second is what its steps took."""
    import vaekit

    asked = {name: value for name in ("precision", "compile") if (value := getattr(job, name))}
    run = vaekit.fit(
        "mnist",
        **PARTS[job.network],
        latent={"name": "gaussian", "features": LATENTS},
        likelihood="bernoulli",
        data_root=job.data_root,
        output=job.folder,
        epochs=job.epochs,
        batch_size=job.batch_size,
        device=job.device,
        seed=job.seed,
        **asked,
    )
    saved = time.time()
    rows = [row for row in run.metrics if row["split"] == "train"]
    images = run.record["config"]["data"]["examples"]
    steps = rows[0]["step"]
    blocks = [(row["epoch"], images, steps, images / row["images_per_second"]) for row in rows]
    test = next(row for row in run.metrics if row["split"] == "test")
    chosen = run.record.get("chosen", {})
    used = {name: str(chosen[name]) for name in ("precision", "compile", "memory_format", "threads") if name in chosen}
    return {"saved": saved, "blocks": blocks, "test_nelbo": test["nelbo"], "used": used}


def run_pythae(job: Job) -> dict[str, Any]:
    """pythae's pipeline, with its loss and trainer; the layers are those of the others."""
    if job.pythae:
        sys.path.append(job.pythae)
    try:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.pipelines import TrainingPipeline
        from pythae.trainers import BaseTrainerConfig
        from pythae.trainers.training_callbacks import TrainingCallback
    except ImportError as error:
        return {"skipped": f"pythae cannot be imported ({error}): say where it is with --pythae"}
    import torch

    layers = network(job.network)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers[0]

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.layers(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers[1]

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))

    class Clock(TrainingCallback):
        def __init__(self) -> None:
            self.stamps: list[list[float]] = []

        def on_train_step_begin(self, *_: Any, **__: Any) -> None:  # which pythae calls once an epoch
            self.stamps.append([time.perf_counter()])

        def on_train_step_end(self, *_: Any, **__: Any) -> None:
            self.stamps[-1].append(time.perf_counter())

    train, validation = (images.float() / 255 for images in held(job))
    clock = Clock()
    config = BaseTrainerConfig(
        output_dir=job.folder,
        num_epochs=job.epochs,
        learning_rate=1e-3,
        per_device_train_batch_size=job.batch_size,
        per_device_eval_batch_size=job.batch_size,
        no_cuda=job.device == "cpu",
    )
    shape = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS, reconstruction_loss="bce")
    model = VAE(shape, encoder=Encoder(), decoder=Decoder())
    TrainingPipeline(model=model, training_config=config)(train, validation, callbacks=[clock])
    saved = time.time()
    return {"saved": saved, "blocks": stamped(clock.stamps, job), "parameters": count(model)}


def stamped(stamps: list[list[float]], job: Job) -> Blocks:
    """Blocks from the moments, epoch by epoch, at which it and each of its steps ended."""
    blocks: Blocks = []
    for epoch, moments in enumerate(stamps, 1):
        last = len(moments) - 1
        size = job.steps or last
        for start in range(0, last, size):
            end = min(start + size, last)
            images = min(end * job.batch_size, TRAINED) - start * job.batch_size
            blocks.append((epoch, images, end - start, moments[end] - moments[start]))
    return blocks


@dataclass(frozen=True)
class Loop:
    """A training loop in its pieces.

    Args:
        batches: of an epoch.
        step: on a batch.
        score: the validation images.
        layers: that are trained.
    """

    batches: Callable[[], Iterable[Tensor]]
    step: Callable[[Tensor], None]
    score: Callable[[], None]
    layers: tuple[nn.Module, nn.Module]

    def run(self, job: Job) -> dict[str, Any]:
        import torch

        blocks = trained(job, self)
        encoder, decoder = (layers.state_dict() for layers in self.layers)
        torch.save({"encoder": encoder, "decoder": decoder}, Path(job.folder, "model.pt"))
        return {"saved": time.time(), "blocks": blocks, "parameters": count(*self.layers)}


def run_plain(job: Job) -> dict[str, Any]:
    return plain(job).run(job)


def plain(job: Job) -> Loop:
    """The script that people begin with."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    device = torch.device(job.device)
    workers = int(job.contestant.partition("-")[2] or 0)
    train, validation = (MNIST(job.data_root, train=train, transform=ToTensor()) for train in (True, False))
    validation.data, validation.targets = train.data[TRAINED:], train.targets[TRAINED:]  # as the others have it
    train.data, train.targets = train.data[:TRAINED], train.targets[:TRAINED]
    loaders = [
        DataLoader(images, job.batch_size, shuffle=images is train, num_workers=workers, pin_memory=device.type == "cuda")
        for images in (train, validation)
    ]
    torch.manual_seed(job.seed)
    encoder, decoder = (layers.to(device) for layers in network(job.network))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def loss_of(x: Tensor) -> Tensor:
        mean, log_variance = encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        pixels = torch.sigmoid(decoder(z))
        reconstruction = functional.binary_cross_entropy(pixels, x, reduction="sum")
        return reconstruction - 0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())

    total = 0.0

    def step(x: Tensor) -> None:
        nonlocal total
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        total += loss.item()
        optimizer.step()

    def score() -> None:
        nonlocal total
        with torch.no_grad():
            for x, _ in loaders[1]:
                total += loss_of(x.to(device)).item()

    return Loop(lambda: (x.to(device) for x, _ in loaders[0]), step, score, (encoder, decoder))


def run_hand(job: Job) -> dict[str, Any]:
    wanted = job.contestant.split("-")
    half = "bf16" if bfloat16(job) else "fp32"
    return {**hand(job).run(job), "used": {"precision": half, "compile": str("compiled" in wanted)}}


def bfloat16(job: Job) -> bool:
    """Whether a loop by hand is to compute in it."""
    wanted = job.contestant.split("-")
    return "bf16" in wanted or (job.precision == "bf16" and "fp32" not in wanted)


def hand(job: Job) -> Loop:
    """A loop as somebody writes it who knows where the time goes."""
    import torch
    from torch.nn import functional

    device = torch.device(job.device)
    wanted, half = job.contestant.split("-"), bfloat16(job)
    train, validation = (images.to(device) for images in held(job))
    torch.manual_seed(job.seed)
    encoder, decoder = (layers.to(device) for layers in network(job.network))
    if "last" in wanted:
        for layers in (encoder, decoder):
            layers.to(memory_format=torch.channels_last)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    total = torch.zeros((), device=device)

    def loss_of(x: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            mean, log_variance = encoder(x).float().chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = decoder(z).float()
        reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        return (reconstruction + kl) / len(x)

    fast = torch.compile(loss_of, dynamic=False) if "compiled" in wanted else loss_of

    def batches(images: Tensor) -> Iterator[Tensor]:
        for index in torch.randperm(len(images)).to(device).split(job.batch_size):
            yield images[index].to(torch.float32).div_(255)

    def step(x: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = (fast if len(x) == job.batch_size else loss_of)(x)  # the last, smaller batch is not worth compiling for
        loss.backward()
        optimizer.step()
        total.add_(loss.detach(), alpha=len(x))

    def score() -> None:
        with torch.no_grad():
            for x in batches(validation):
                total.add_(loss_of(x))
        total.item()

    return Loop(lambda: batches(train), step, score, (encoder, decoder))


def run_turns(job: Job) -> dict[str, Any]:
    """vaekit's steps, those of a loop by hand and those of the plain script, in turns in one process: milliseconds a step."""
    import torch

    import vaekit
    from vaekit.data.batches import Batches
    from vaekit.data.prepare import load
    from vaekit.trainer import Trainer
    from vaekit.training import TrainingOptions

    data = load("mnist", root=job.data_root)
    parts = {"latent": {"name": "gaussian", "features": LATENTS}, "likelihood": "bernoulli", **PARTS[job.network]}
    model, loss = vaekit.build(vaekit.Config(data_shape=data.shape, **parts))
    asked = {name: value for name in ("precision", "compile") if (value := getattr(job, name))}
    options = TrainingOptions(epochs=10**6, batch_size=job.batch_size, device=job.device, **asked)
    trainer = Trainer(model, loss, options)
    turn = data.train.take(torch.randperm(len(data.train))[: TURN * job.batch_size])
    reports = trainer.run(Batches(turn, job.batch_size, shuffle=True, device=trainer.device))
    next(reports)
    assert trainer.choices is not None
    loops = {"hand": hand(replace(job, contestant="hand", precision=trainer.choices.precision)), "plain": plain(job)}
    endless = {name: itertools.chain.from_iterable(iter(loop.batches, None)) for name, loop in loops.items()}
    wait = torch.cuda.synchronize if job.device.startswith("cuda") else lambda: None
    times: dict[str, list[float]] = {"vaekit": [], **{name: [] for name in loops}}
    for _ in range(1 + job.epochs):
        for name in times:
            begin = time.perf_counter()
            if name == "vaekit":
                next(reports)
            else:
                for x in itertools.islice(endless[name], TURN):
                    loops[name].step(x)
            wait()
            times[name].append(1000 * (time.perf_counter() - begin) / TURN)
    return {"saved": time.time(), "times": {name: found[1:] for name, found in times.items()}}


def run_floor(job: Job) -> dict[str, Any]:
    """What no step can do without: its matrix products, and its optimizer, each by itself."""
    import torch
    from torch import nn

    device = torch.device(job.device)
    layers = network(job.network)
    parameters = [nn.Parameter(p.detach().to(device)) for part in layers for p in part.parameters()]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.Adam(parameters, lr=1e-6, fused=True)
    floors = {"fused Adam": seconds(optimizer.step, job, device)}
    widths = [(m.in_features, m.out_features) for part in layers for m in part.modules() if isinstance(m, nn.Linear)]
    for name, dtype in (("fp32 products", torch.float32), ("bf16 products", torch.bfloat16)):
        products = operands(widths, job.batch_size, dtype, device)

        def multiply(products: list[tuple[Tensor, Tensor, Tensor]] = products) -> None:
            for a, b, out in products:
                torch.mm(a, b, out=out)

        with torch.no_grad():
            floors[name] = seconds(multiply, job, device)
    return {"saved": time.time(), "floors": floors, "products": len(products), "flops": sum(map(flops, products))}


def operands(
    widths: list[tuple[int, int]], n: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Both factors and the result of each product of a step: of every dense layer forward, then the gradients of its weights
    and, but for the first layer, of what it was given."""
    import torch

    found = []
    for place, (before, after) in enumerate(widths):
        x, g, weight = (torch.randn(*shape, dtype=dtype, device=device) for shape in ((n, before), (n, after), (after, before)))
        found += [(x, weight.T), (g.T, x), *([(g, weight)] if place else [])]
    return [(a, b, torch.mm(a, b)) for a, b in found]


def flops(product: tuple[Tensor, Tensor, Tensor]) -> int:
    a, b, _ = product
    return 2 * a.shape[0] * a.shape[1] * b.shape[1]


def seconds(work: Callable[[], object], job: Job, device: torch.device, blocks: int = 20) -> list[float]:
    """What one call takes, by block; the first blocks, of warming up, are left out."""
    import torch

    calls = job.steps or 100
    found = []
    for _ in range(blocks + 3):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(calls):
                work()
            end.record()
            torch.cuda.synchronize()
            found.append(begin.elapsed_time(end) / 1000 / calls)
        else:
            start = time.perf_counter()
            for _ in range(calls):
                work()
            found.append((time.perf_counter() - start) / calls)
    return found[3:]


def run_check(job: Job) -> dict[str, Any]:
    """Whether the layers here are those of vaekit's model: with its parameters, in order, they give the same numbers."""
    import torch

    import vaekit

    parts = {**PARTS[job.network], "latent": {"name": "gaussian", "features": LATENTS}, "likelihood": "bernoulli"}
    model, _ = vaekit.build({"data_shape": (1, 28, 28), **parts})
    theirs = [*model.encoder.parameters(), *model.latent.parameters()], [*model.decoder.parameters()]
    ours = network(job.network)
    x, z, c = torch.rand(8, 1, 28, 28), torch.randn(8, LATENTS), torch.zeros(8, 0)
    with torch.no_grad():
        for layers, values in zip(ours, theirs, strict=True):
            for own, value in zip(layers.parameters(), values, strict=True):
                own.copy_(value)
        mean = model.latent.posterior(model.encoder(x, c), c).mean
        logits = model.decoder(z, c)
        apart = max(
            float((ours[0](x).chunk(2, dim=1)[0] - mean).abs().max()),
            float((ours[1](z).reshape(8, 1, 28, 28) - logits).abs().max()),
        )
    return {"saved": time.time(), "vaekit": count(model), "here": count(*ours), "apart": apart}


# In the child: what contestants share.


def network(name: str) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, x (N, 1, 28, 28) to mean and log-variance (N, 2·20), and z (N, 20) to logits (N, 1, 28, 28)."""
    from torch import nn

    class LastState(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(28, 28, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            last: Tensor = self.recurrent(x.flatten(1, 2))[1][0][-1]
            return last

    def up(before: int, after: int, stride: int = 2) -> nn.Module:
        return nn.ConvTranspose2d(before, after, 3, stride, 1, stride - 1)

    image, relu = nn.Unflatten(1, (1, 28, 28)), nn.ReLU()
    grid = nn.Unflatten(1, (64, 7, 7))
    if name == "mlp":
        return (
            nn.Sequential(nn.Flatten(), nn.Linear(784, 400), relu, nn.Linear(400, 2 * LATENTS)),
            nn.Sequential(nn.Linear(LATENTS, 400), relu, nn.Linear(400, 784), image),
        )
    if name == "conv":
        down = [nn.Conv2d(1, 32, 3, 2, 1), relu, nn.Conv2d(32, 64, 3, 2, 1), relu, nn.Flatten()]
        return (
            nn.Sequential(*down, nn.Linear(3136, 2 * LATENTS)),
            nn.Sequential(nn.Linear(LATENTS, 3136), relu, grid, up(64, 32), relu, up(32, 1)),
        )
    dense = [nn.Linear(28, 200), relu, nn.Linear(200, 200), relu, nn.Linear(200, 2 * LATENTS)]
    start = [nn.Linear(LATENTS, 24), relu, nn.Linear(24, 3136), relu, grid]
    return nn.Sequential(LastState(), *dense), nn.Sequential(*start, up(64, 64), relu, up(64, 32), relu, up(32, 1, 1))


def held(job: Job) -> tuple[Tensor, Tensor]:
    """The images to train on and to validate on, as bytes (N, 1, 28, 28)."""
    from torchvision.datasets import MNIST

    images: Tensor = MNIST(job.data_root, train=True).data[:, None]
    return images[:TRAINED], images[TRAINED:]


def count(*modules: nn.Module) -> int:
    """Their parameters."""
    return sum(p.numel() for module in modules for p in module.parameters())


def trained(job: Job, loop: Loop) -> Blocks:
    """Train, and say how long each block of steps took."""
    import torch

    wait = torch.cuda.synchronize if job.device.startswith("cuda") else lambda: None
    blocks: Blocks = []
    for epoch in range(1, job.epochs + 1):
        images = steps = 0
        begin = time.perf_counter()
        for x in loop.batches():
            loop.step(x)
            images += len(x)
            steps += 1
            if steps == job.steps:
                wait()
                blocks.append((epoch, images, steps, time.perf_counter() - begin))
                images, steps, begin = 0, 0, time.perf_counter()
        if steps:
            wait()
            blocks.append((epoch, images, steps, time.perf_counter() - begin))
        loop.score()
    return blocks


def child(path: Path) -> None:
    """Do the job that is written there, and write beside it what came of it."""
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    runs = {"vaekit": run_vaekit, "pythae": run_pythae, "plain": run_plain, "hand": run_hand, "floor": run_floor}
    result = {**runs, "check": run_check, "turns": run_turns}[job.contestant.partition("-")[0]](job)
    path.with_name("result.json").write_text(json.dumps(result), encoding="utf-8")


# In the parent.


def ran(job: Job, threads: int, cache: Path | None) -> dict[str, Any]:
    """What came of a job in a process of its own, with its seconds from end to end and the most memory that it had.

    Args:
        job: to do.
        threads: 0 for what torch chooses.
        cache: of what torch compiles; a new one unless given.
    """
    with tempfile.TemporaryDirectory(prefix="vaekit-benchmark-", ignore_cleanup_errors=True) as folder:
        written = Path(folder, "job.json")
        output = Path(folder, "output")
        output.mkdir()
        written.write_text(json.dumps(asdict(replace(job, folder=str(output)))), encoding="utf-8")
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache or Path(folder, "compiled"))}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        with Path(folder, "said.txt").open("w+b") as said:
            begin = time.time()
            command = [sys.executable, str(Path(__file__).resolve()), "--child", str(written)]
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=said, stderr=said)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                tail = said.read().decode(errors="replace").strip().splitlines()[-5:]
                return {"failed": f"ended with code {process.returncode}: " + " | ".join(tail)[-800:]}
        result: dict[str, Any] = json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))
    unit = 1 if sys.platform == "darwin" else 1024
    if "saved" in result:
        result |= {"end_to_end": result.pop("saved") - begin, "peak_bytes": usage.ru_maxrss * unit}
    return result


def steady(result: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Milliseconds a step and images a second, by block; from the second epoch on where there is one."""
    blocks = result.get("blocks", [])
    later = [block for block in blocks if block[0] > 1] or blocks
    return [(1000 * seconds / steps, images / seconds) for _, images, steps, seconds in later]


def ms(result: Mapping[str, Any], of: Callable[[list[float]], float] = statistics.median) -> float:
    return of([step for step, _ in steady(result)])


def floor_ms(result: Mapping[str, Any], of: Callable[[list[float]], float] = statistics.median) -> float:
    """The products in bf16 and the optimizer."""
    return 1000 * sum(of(result["floors"][name]) for name in ("bf16 products", "fused Adam"))


Round = dict[str, dict[str, Any]]


def measured(asked: argparse.Namespace, job: Job, cache: Path | None) -> list[Round]:
    """Every contestant once a round."""
    rounds: list[Round] = []
    for number in range(1, asked.rounds + 1):
        done: Round = {}
        rounds.append(done)
        for contestant in asked.only:
            if contestant == "floor" and job.network != "mlp":
                done[contestant] = {"skipped": "the floor is of the mlp only"}
            elif any("skipped" in before.get(contestant, {}) for before in rounds[:-1]):
                continue
            else:
                done[contestant] = ran(told_to(job, contestant, done.get("vaekit", {})), asked.threads, cache)
            print(f"round {number}, {contestant}: {brief(done[contestant])}", flush=True)
    return rounds


def told_to(job: Job, contestant: str, vaekit: Mapping[str, Any]) -> Job:
    """The job of a contestant; a loop by hand has the precision that vaekit had just before."""
    used = vaekit.get("used", {}).get("precision", job.precision)
    precision = (used if used in ("fp32", "bf16") else "fp32") if contestant.startswith("hand") else job.precision
    return replace(job, contestant=contestant, precision=precision)


def brief(result: Mapping[str, Any]) -> str:
    if "blocks" not in result:
        return str(result.get("skipped") or result.get("failed") or f"{floor_ms(result):.2f} ms for bf16 products and Adam")
    used = ", ".join(f"{name} {value}" for name, value in result.get("used", {}).items() if value)
    return (
        f"{ms(result):.2f} ms a step, {result['end_to_end']:.1f} s, {result['peak_bytes'] / 2**20:.0f} MiB"
        f"{f' ({used})' if used else ''}; load {os.getloadavg()[0]:.1f}"
    )


def complete(rounds: list[Round], *contestants: str) -> list[Round]:
    """The rounds that all of them ended."""
    return [r for r in rounds if all("end_to_end" in r.get(c, {}) for c in contestants)]


def ratio(rounds: list[Round], one: str, other: str, of: Callable[[Mapping[str, Any]], float]) -> float | None:
    """The median over rounds of what one has for each of what the other has; None where no round has both."""
    both = complete(rounds, one, other)
    return statistics.median(of(r[one]) / of(r[other]) for r in both) if both else None


def end_to_end(result: Mapping[str, Any]) -> float:
    return float(result["end_to_end"])


def peak(result: Mapping[str, Any]) -> float:
    return float(result["peak_bytes"])


def table(rounds: list[Round], contestants: Iterable[str]) -> None:
    """Medians over rounds, and ratios to vaekit within rounds."""
    titles = ("ms/step", "best", "images/s", "best", "end to end s", "peak MiB", "x ms/step", "x end to end", "x memory")
    print("\n" + f"{'':24}" + "".join(f"{title:>13}" for title in titles))
    for contestant in contestants:
        there = [r[contestant] for r in complete(rounds, contestant) if "blocks" in r[contestant]]
        if not there:
            continue
        speeds = [[speed for _, speed in steady(result)] for result in there]
        cells = [
            f"{statistics.median(map(ms, there)):.2f}",
            f"{min(ms(result, min) for result in there):.2f}",
            f"{statistics.median(map(statistics.median, speeds)):,.0f}",
            f"{max(map(max, speeds)):,.0f}",
            f"{statistics.median(map(end_to_end, there)):.1f}",
            f"{statistics.median(map(peak, there)) / 2**20:,.0f}",
        ]
        for of in (ms, end_to_end, peak):
            times = ratio(rounds, contestant, "vaekit", of)
            cells.append("" if times is None else f"{times:.2f}")
        print(f"{contestant:24}" + "".join(f"{cell:>13}" for cell in cells))
    for floor in (r["floor"] for r in complete(rounds, "floor")[-1:]):
        print(f"\n{floor['products']} matrix products, {floor['flops'] / 1e6:.0f} MFLOP a step, alone (last round):")
        for name, times in floor["floors"].items():
            speed = f", {floor['flops'] / statistics.median(times) / 1e9:,.0f} GFLOP/s" if "products" in name else ""
            print(f"  {name}: {1000 * statistics.median(times):.3f} ms, best {1000 * min(times):.3f}{speed}")


def verdicts(rounds: list[Round], job: Job) -> Iterator[tuple[str, str, bool]]:
    """What was asked, what was found, and whether it holds; only of contestants that ran."""
    asked = {"plain": PLAIN_ASKED[job.network], **({"pythae": 2.5} if job.network == "mlp" else {})}
    for other, least in asked.items():
        found = ratio(rounds, other, "vaekit", ms)
        if found is not None:
            yield f"a step at least {least:g} times as fast as {other}'s", f"{found:.2f} times", found >= least
    for other in ("hand", "hand-compiled"):
        found = ratio(rounds, "vaekit", other, ms)
        if found is not None and job.network == "mlp":
            used = next(r[other]["used"]["precision"] for r in complete(rounds, other))
            yield f"a step within 5 % of {other}'s in {used}", f"{found:.3f} of it", found <= 1.05
    both = complete(rounds, "vaekit", "floor")
    if both:
        found, best = (
            statistics.median(ms(r["vaekit"], of) / floor_ms(r["floor"], of) for r in both) for of in (statistics.median, min)
        )
        yield "a step in 1.5 times its bf16 products and Adam", f"{found:.2f} times (bests: {best:.2f})", found <= 1.5
    for other in ("pythae", "plain"):
        found = ratio(rounds, "vaekit", other, end_to_end)
        if found is not None:
            yield f"from end to end faster than {other}", f"{found:.2f} of its time", found < 1
    found = ratio(rounds, "vaekit", "plain", peak)
    if found is not None:
        yield "less memory than plain", f"{found:.2f} of it", found < 1


def bounds(asked: argparse.Namespace, job: Job, cache: Path | None) -> list[dict[str, Any]]:
    """The test bound of the same training in fp32 and in bf16, for a seed a round."""
    rows = []
    for seed in range(asked.rounds):
        found = {}
        for precision in ("fp32", "bf16"):
            result = ran(replace(job, contestant="vaekit", precision=precision, seed=seed), asked.threads, cache)
            if "test_nelbo" not in result:
                raise SystemExit(f"vaekit with precision={precision!r}: {result.get('failed')}")
            found[precision] = result["test_nelbo"]
        apart = found["bf16"] - found["fp32"]
        print(
            f"seed {seed}: test nelbo {found['fp32']:.3f} in fp32, {found['bf16']:.3f} in bf16, {apart:+.3f} nats", flush=True
        )
        rows.append({"seed": seed, **found})
    worst = max((row["bf16"] - row["fp32"] for row in rows), key=abs)
    say("test nelbo in bf16 within 0.3 nats of fp32", f"{worst:+.3f}", abs(worst) <= 0.3)
    if len(rows) > 1:
        print(f"(from seed to seed in fp32: {max(r['fp32'] for r in rows) - min(r['fp32'] for r in rows):.3f} nats)")
    return rows


def turns(asked: argparse.Namespace, job: Job, cache: Path | None) -> dict[str, list[float]]:
    """Steps in turns in one process, where what else the machine does hits all alike."""
    result = ran(replace(job, contestant="turns", epochs=asked.rounds), asked.threads, cache)
    if "times" not in result:
        raise SystemExit(str(result.get("failed")))
    times: dict[str, list[float]] = result["times"]
    for name, found in times.items():
        others = sorted(other / own for other, own in zip(found, times["vaekit"], strict=True))
        print(
            f"{name:8} {statistics.median(found):6.2f} ms a step, best {min(found):6.2f}; "
            f"times vaekit's {statistics.median(others):.2f} ({others[0]:.2f} to {others[-1]:.2f})"
        )
    return times


def say(what: str, found: str, holds: bool) -> None:
    print(f"asked: {what}; found: {found}; {'holds' if holds else 'does not hold'}")


def check(job: Job, threads: int) -> None:
    """See that all train the same network.

    Raises:
        SystemExit: where they do not.
    """
    found = ran(replace(job, contestant="check"), threads, None)
    if "failed" in found:
        raise SystemExit(f"the network cannot be built: {found['failed']}")
    print(
        f"{job.network}: {found['vaekit']:,} parameters in vaekit's model and {found['here']:,} in that of the others;", end=" "
    )
    print(f"with the same values they differ by {found['apart']:.1e} at most")
    if found["vaekit"] != found["here"] or found["apart"] > 1e-4:
        raise SystemExit("these are not the same networks")


def machine(asked: argparse.Namespace) -> dict[str, Any]:
    """Where this was measured; no paths."""
    from importlib.metadata import version

    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "vaekit": version("vaekit"),
        "load": os.getloadavg()[0],
        "asked": {key: value for key, value in vars(asked).items() if key not in ("data_root", "pythae", "json")},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="the folder in which torchvision finds MNIST")
    parser.add_argument("--network", choices=list(PARTS), default="mlp")
    parser.add_argument("--only", type=lambda names: tuple(names.split(",")), default=USUAL, help="contestants, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="a timed block; an epoch, as vaekit tells it, unless given")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="what torch chooses unless given")
    parser.add_argument("--precision", default="", help="what vaekit.fit is told: fp32, bf16 or auto")
    parser.add_argument("--compile", default="", help="what vaekit.fit is told: on, off or auto")
    parser.add_argument("--shared-cache", action="store_true", help="what torch compiled in one round serves the next")
    parser.add_argument("--pythae", default="", help="the folder that pythae was put in, where it is not installed")
    parser.add_argument(
        "--bounds", action="store_true", help="compare the test bounds of fp32 and bf16 instead, a seed a round"
    )
    parser.add_argument(
        "--turns",
        action="store_true",
        help="compare steps of vaekit, hand and plain in one process instead, in turns, a round each",
    )
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    asked = parser.parse_args()
    for name in asked.only:
        kind, _, rest = name.partition("-")
        options = {"plain": {"1", "2"}, "hand": {"compiled", "fp32", "bf16", "last"}}.get(kind, set())
        if kind not in USUAL or set(filter(None, rest.split("-"))) - options:
            parser.error(f"no contestant {name!r}")
    return asked


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]))
        return
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the child with it
    job = Job(
        contestant="",
        network=asked.network,
        epochs=asked.epochs,
        steps=asked.steps,
        batch_size=asked.batch_size,
        device=asked.device,
        data_root=str(Path(asked.data_root).absolute()),
        folder="",
        pythae=asked.pythae and str(Path(asked.pythae).absolute()),
        precision=asked.precision,
        compile=asked.compile,
    )
    where = machine(asked)
    print(", ".join(f"{key} {value}" for key, value in where.items() if key != "asked"))
    with tempfile.TemporaryDirectory(prefix="vaekit-compiled-") as cache:
        shared = Path(cache) if asked.shared_cache else None
        if asked.bounds:
            found: dict[str, Any] = {"bounds": bounds(asked, job, shared)}
        elif asked.turns:
            found = {"turns": turns(asked, job, shared)}
        else:
            check(job, asked.threads)
            rounds = measured(asked, job, shared)
            table(rounds, asked.only)
            print()
            for verdict in verdicts(rounds, job):
                say(*verdict)
            found = {"rounds": rounds}
    if asked.json:
        asked.json.write_text(json.dumps({"machine": where, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

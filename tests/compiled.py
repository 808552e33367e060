"""What tests/test_choices.py runs in a process of its own: training with compiled steps, whole and stopped, and without."""

import json
import sys
import warnings
from typing import Any

import torch

import vaekit
from vaekit import choices
from vaekit.ambient import Ambient
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.step import Step
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions

X = (torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).to(torch.uint8) * 255


def trained(compile: str, stop: int | None = None) -> tuple[list[float], list[dict[str, float]]]:
    """The weights, and the terms of each epoch, the last batch of which is smaller than the others."""
    options = TrainingOptions(epochs=4, lr=1e-2, compile=compile, precision="fp32")
    batches = Batches(Examples(X), 32, shuffle=True)
    trainer = Trainer(*new(), options)

    def ask() -> None:
        if trainer.steps == stop:
            trainer.stop()

    trainer.after_step = ask
    reports = list(trainer.run(batches))
    if stop:
        tensors, progress = trainer.state()
        trainer = Trainer(*new(seed=1), options, trainer.choices)
        trainer.settle(batches)
        trainer.load_state({name: tensor.clone() for name, tensor in tensors.items()}, progress)
        reports += list(trainer.run(batches))
    whole = [report.terms for report in reports if not report.partial]
    return torch.cat([p.detach().flatten() for p in trainer.step.model.parameters()]).tolist(), whole


def new(seed: int = 0) -> tuple[vaekit.VAE, vaekit.Loss]:
    torch.manual_seed(seed)
    small: dict[str, Any] = {"encoder": {"hidden": [16]}, "decoder": {"hidden": [16]}}
    return vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **small))


def broken() -> None:
    """Without a C++ compiler: what is chosen, and what happens where it must compile."""
    choices._SECONDS_TO_COMPILE = 0
    step = Step(*new())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = choices.decide(step, TrainingOptions(), torch.device("cpu"), (X[:32] / 255, None), 10**9)
    try:
        trained("on")
        said = ""
    except vaekit.VaekitError as error:
        said = str(error)
    json.dump({"compile": chosen.compile, "warned": [str(one.message) for one in caught], "said": said}, sys.stdout)


if __name__ == "__main__":
    if sys.argv[1:] == ["broken"]:
        broken()
        sys.exit()
    ambient = Ambient.now()
    weights, terms = trained("on")
    changes = [change.what for change in ambient.differences() if change.what.startswith("torch")]
    stopped_weights, stopped_terms = trained("on", 4)
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8)))
    found = torch._dynamo.explain(Step(model, loss))(X[:8] / 255, None, "model")
    json.dump(
        {
            "changes": changes,
            "graphs": found.graph_count,
            "weights": weights,
            "terms": terms,
            "stopped_weights": stopped_weights,
            "stopped_terms": stopped_terms,
            "eager": trained("off")[1],
        },
        sys.stdout,
    )

"""What tests/test_choices.py runs in a process of its own: training with compiled steps, whole and stopped, and without."""

import json
import sys
from typing import Any

import torch

import vaekit
from vaekit.ambient import Ambient
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.step import Step
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions

X = (torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).to(torch.uint8) * 255


def trained(compile: str, stop: int | None = None) -> tuple[list[float], list[dict[str, float]]]:
    """The weights, and the terms of each epoch, the last batch of which is smaller than the others."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"encoder": {"hidden": [16]}, "decoder": {"hidden": [16]}}
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **small))
    options = TrainingOptions(epochs=4, lr=1e-2, compile=compile, precision="fp32")
    batches = Batches(Examples(X), 32, shuffle=True)
    trainer = Trainer(model, loss, options)

    def ask() -> None:
        trainer.stopping = trainer.steps == stop

    trainer.after_step = ask
    reports = list(trainer.run(batches))
    if stop:
        tensors, progress = trainer.state()
        again = Trainer(model, loss, options, trainer.choices)
        again.settle(batches)
        again.load_state({name: tensor.clone() for name, tensor in tensors.items()}, progress)
        reports += list(again.run(batches))
    whole = [report.terms for report in reports if not report.partial]
    return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist(), whole


if __name__ == "__main__":
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

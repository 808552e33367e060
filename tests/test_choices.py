"""What a run settles by itself: when it tries things out, what it takes, and that nothing else is changed by it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import vaekit
from vaekit import choices
from vaekit.ambient import DRAWN, Ambient
from vaekit.choices import Choices, decide
from vaekit.data.batches import Batches
from vaekit.data.catalog import Examples
from vaekit.step import Step
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions

CPU = torch.device("cpu")
X = (torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).to(torch.uint8) * 255
CONV = {"encoder": "conv", "decoder": "transposed-conv"}


def _step(dtype: torch.dtype = torch.float32, **parts: Any) -> Step:
    return Step(*vaekit.build(vaekit.Config(data_shape=(1, 8, 8), **parts))).to(dtype)


def _decided(step: Step, to_come: int = 10, **options: Any) -> Choices:
    return decide(step, TrainingOptions(**options), CPU, (X[:8] / 255, None), to_come)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """What a step is made out to take, by memory format and whether it is compiled, and the first of all."""
    told: dict[Any, float] = {
        ("contiguous", False): 1.0,
        ("channels_last", False): 0.5,
        ("contiguous", True): 0.1,
        ("channels_last", True): 0.1,
    }
    told["first"] = 1.0
    monkeypatch.setattr(
        choices, "_tried", lambda step, chosen, batch: (told["first"], told[chosen.memory_format, chosen.compile])
    )
    return told


def test_precision_is_what_the_device_multiplies_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for capable, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(choices, "has_bf16", lambda device, capable=capable: capable)
        assert _decided(_step()).precision == expected
        assert _decided(_step(torch.float64)).precision == "fp32"
        assert _decided(_step(), precision="fp32").precision == "fp32"
        assert _decided(_step(), precision="bf16").precision == "bf16"


def test_the_faster_memory_format_is_taken_where_steps_enough_are_to_come(seconds: dict[Any, float]) -> None:
    assert _decided(_step(**CONV), to_come=119).memory_format == "contiguous"
    assert _decided(_step(**CONV), to_come=120).memory_format == "channels_last"
    seconds["channels_last", False] = 1.5
    assert _decided(_step(**CONV), to_come=120).memory_format == "contiguous"
    assert _decided(_step(**CONV), to_come=120, memory_format="channels_last").memory_format == "channels_last"
    assert _decided(_step(), to_come=120).memory_format == "contiguous"


def test_it_compiles_where_a_twentieth_of_what_surely_comes_is_a_minute_and_it_is_faster(
    seconds: dict[Any, float],
) -> None:
    assert not _decided(_step(), to_come=1200).compile
    assert _decided(_step(), to_come=1201).compile
    assert not _decided(_step(), to_come=1201, compile="off").compile
    assert _decided(_step(), to_come=1, compile="on").compile
    seconds["contiguous", True] = 0.999
    assert _decided(_step(), to_come=1201).compile
    seconds["first"] = 1.3
    assert not _decided(_step(), to_come=1201).compile


def test_what_is_surely_to_come_is_what_early_stopping_leaves() -> None:
    assert TrainingOptions(epochs=50).sure_epochs == 50
    assert TrainingOptions(epochs=50, early_stop=3).sure_epochs == 4
    assert TrainingOptions(epochs=2, early_stop=3).sure_epochs == 2


def test_trying_changes_nothing() -> None:
    step = _step(**CONV)
    before = {name: tensor.clone() for name, tensor in step.state_dict().items()}
    ambient = Ambient.now()
    assert _decided(step, to_come=10_000).threads == torch.get_num_threads()
    assert {change.what for change in ambient.differences()} <= {DRAWN}
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.state_dict().items())
    assert all(p.grad is None for p in step.parameters())


def test_a_run_computes_on_its_threads_and_puts_back_what_there_was() -> None:
    n = torch.get_num_threads()
    seen = []
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8)))
    trainer = Trainer(model, loss, TrainingOptions(epochs=1, threads=n + 1))
    trainer.after_step = lambda: seen.append(torch.get_num_threads())
    for _ in trainer.run(Batches(Examples(X), 32), Batches(Examples(X), 32)):
        assert torch.get_num_threads() == n
    assert set(seen) == {n + 1}


def test_densities_and_validation_are_in_float32_whatever_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16 the layers compute so in training, and nothing else does."""
    seen: set[tuple[str, bool, torch.dtype]] = set()
    model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8)))
    forward = type(model.decoder).forward

    def noted(self: Any, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        theta = forward(self, z, c)
        seen.add(("theta", self.training, theta.dtype))
        return theta

    monkeypatch.setattr(type(model.decoder), "forward", noted)
    model.likelihood.register_forward_hook(lambda part, args, px: seen.add(("px", part.training, px.mean.dtype)))
    trainer = Trainer(model, loss, TrainingOptions(epochs=1, precision="bf16"))
    list(trainer.run(Batches(Examples(X), 32), Batches(Examples(X), 32)))
    assert ("theta", True, torch.bfloat16) in seen
    assert ("theta", False, torch.float32) in seen
    assert {dtype for what, _, dtype in seen if what == "px"} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_somebody_elses_autocast_changes_nothing(precision: str) -> None:
    """Around a block of autocast torch never lets go of the weights that it has cast."""
    weights = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8)))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            trainer = Trainer(model, loss, TrainingOptions(epochs=3, precision=precision))
            reports = list(trainer.run(Batches(Examples(X), 32, shuffle=True)))
        assert reports[-1].terms["nelbo"] < reports[0].terms["nelbo"]
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.slow
def test_compiled_steps_train_alike_and_go_on_exactly() -> None:
    """In a process of its own, since what checks shapes in tests does not compile."""
    script = Path(__file__).with_name("compiled.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["changes"] == []
    assert told["graphs"] == 1
    assert told["stopped_weights"] == told["weights"]
    assert told["stopped_terms"] == told["terms"]
    assert told["terms"][-1]["nelbo"] == pytest.approx(told["eager"][-1]["nelbo"], abs=0.5)  # they draw otherwise
    assert told["terms"][-1]["nelbo"] < told["terms"][0]["nelbo"]


def test_where_nothing_compiles_steps_are_not_compiled_and_who_wants_it_is_told(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compiled.py")
    without = {**os.environ, "CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, "broken"], capture_output=True, text=True, timeout=300, check=False, env=without
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert not told["compile"]
    assert any("steps are not compiled" in said for said in told["warned"])
    assert "the step cannot be compiled here, train with --compile off" in told["said"]

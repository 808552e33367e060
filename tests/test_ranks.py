"""Several ranks: the parameters of a single process, disjoint shares, one that writes, and clean ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import vaekit
from tests.rank import OPTIONS, batches, begin, end, trainer
from vaekit import checkpoint
from vaekit.ranks import ALONE
from vaekit.training import TrainingOptions

pytestmark = pytest.mark.slow
SMALL = ("digits", "binarize=dynamic", "encoder.hidden=[16]", "decoder.hidden=[16]", "latent.features=2")
RANK = str(Path(__file__).with_name("rank.py"))


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


def _launch(*arguments: str, ranks: int = 2, cwd: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(), cwd=cwd)


def _ran(*arguments: str, ranks: int = 2, cwd: Path | None = None) -> str:
    process = _launch(*arguments, ranks=ranks, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.mark.parametrize(
    ("loss", "given"),
    [
        ("idle", {"accumulate": 3, "clip": 0.1}),
        ("idle", {"strategy": "fsdp", "accumulate": 13, "clip": 0.1}),
        ("adversarial", {}),
        ("adversarial", {"strategy": "fsdp"}),
        ("annealed", {"schedule": "one-cycle"}),
    ],
    ids=str,
)
def test_two_ranks_end_with_the_parameters_of_one_process(loss: str, given: dict[str, Any], tmp_path: Path) -> None:
    _ran(RANK, "train", str(tmp_path), json.dumps(loss), json.dumps(given))
    alone = trainer(loss, TrainingOptions(epochs=3, lr=1e-2, precision="fp32", **given), ALONE)
    reports = list(alone.run(batches(ALONE), batches(ALONE, False)))
    found = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert len(found) == (1 if given.get("strategy") == "fsdp" else 2)
    for rank in found:
        for name, tensor in alone.state()[0].items():
            if name.startswith("step."):
                assert rank["weights"][name] == pytest.approx(tensor.flatten().tolist(), abs=1e-10), name
        for terms, report in zip(rank["terms"], reports, strict=True):
            assert terms == pytest.approx(report.terms, rel=1e-5)
    assert all(rank["weights"] == found[0]["weights"] for rank in found)


@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 2), ("fsdp", 2), ("ddp", 3)])
def test_with_batch_norm_too_a_run_is_continued_exactly(strategy: str, ranks: int, tmp_path: Path) -> None:
    """After the last step of an epoch, before its validation; and between two epochs of three steps."""
    _ran(RANK, "stopped", str(tmp_path), json.dumps(strategy), "[3, 6]", ranks=ranks)
    found = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert len(found[0]["None"]["terms"]) == 4
    assert found[0]["3"] == found[0]["6"] == found[0]["None"]
    assert all(rank["None"]["terms"] == found[0]["None"]["terms"] for rank in found)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_run_goes_on_with_another_number_of_ranks(before: int, after: int, tmp_path: Path) -> None:
    """From within an epoch, or from its last step, where ranks agree to stop."""
    _ran(RANK, "begin", str(tmp_path), "4", ranks=before) if before > 1 else begin(tmp_path, 4)
    _ran(RANK, "end", str(tmp_path), ranks=after) if after > 1 else end(tmp_path)
    whole = trainer("idle", OPTIONS, ALONE)
    reports = [report.terms for report in whole.run(batches(ALONE), batches(ALONE, False))]
    for path in tmp_path.glob("*.json"):
        found = json.loads(path.read_text())
        for name, tensor in whole.step.state_dict().items():
            assert found["weights"][name] == pytest.approx(tensor.flatten().tolist(), abs=1e-10), name
        assert len(found["terms"]) == 4
        for terms, expected in zip(found["terms"], reports[2:], strict=True):
            without = {name: value for name, value in terms.items() if name != "gradient_norm"}
            assert without == pytest.approx({name: expected[name] for name in without}, rel=1e-5)


def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path: Path) -> None:
    options = ("--epochs", "100000", "--batch-size", "512", "--name", "r", "--save-every", "100")
    process = _launch("-m", "vaekit", "train", *SMALL, *options, cwd=tmp_path)
    try:
        _wait_for_rows(tmp_path / "runs" / "r", 20)
        ranks = {child.environ().get("RANK"): child for child in psutil.Process(process.pid).children()}
        ranks["1"].terminate()
        process.communicate(timeout=60)
    finally:
        process.kill()
    run = vaekit.Run(tmp_path / "runs" / "r")
    assert run.status == "interrupted"
    state = checkpoint.read(run.path / "checkpoints")
    assert state is not None
    assert state[1]["steps"] >= run.metrics[-1]["step"]


def test_shares_are_disjoint_and_every_epoch_has_its_own(tmp_path: Path) -> None:
    _ran(RANK, "seen", str(tmp_path), ranks=3)
    ranks = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    for epoch in range(2):
        assert sorted(number for rank in ranks for number in rank[epoch]) == list(range(91))
    assert len({tuple(epoch) for rank in ranks for epoch in rank}) == 6


def test_a_rank_that_dies_ends_the_job_with_a_message_and_the_run_goes_on(tmp_path: Path) -> None:
    process = _launch("-m", "vaekit", "train", *SMALL, "--epochs", "100000", "--name", "r", "--save-every", "0.1", cwd=tmp_path)
    try:
        _wait_for_rows(tmp_path / "runs" / "r", 5)
        ranks = {child.environ().get("RANK"): child for child in psutil.Process(process.pid).children()}
        ranks["1"].kill()
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode
    assert "error: rank 0: another rank of the job has ended" in err
    assert vaekit.Run(tmp_path / "runs" / "r").status == "failed"
    assert checkpoint.read(tmp_path / "runs" / "r" / "checkpoints") is not None


def test_a_job_trains_one_run_after_the_other(tmp_path: Path) -> None:
    _ran(RANK, "twice", str(tmp_path))
    assert [vaekit.Run(tmp_path / name).status for name in "ab"] == ["done", "done"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_rank_writes_and_a_run_is_continued_exactly(strategy: str, tmp_path: Path) -> None:
    options = ("--epochs", "40", "--strategy", strategy, "--save-every", "0.01")
    out = _ran("-m", "vaekit", "train", *SMALL, *options, "--name", "whole", "--json", cwd=tmp_path)
    assert json.loads(out)["status"] == "done"
    process = _launch("-m", "vaekit", "train", *SMALL, *options, "--name", "stopped", cwd=tmp_path)
    try:
        _wait_for_rows(tmp_path / "runs" / "stopped", 5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    finally:
        process.kill()
    stopped = vaekit.Run(tmp_path / "runs" / "stopped")
    assert stopped.status == "interrupted"
    _ran("-m", "vaekit", "resume", "runs/stopped", cwd=tmp_path)
    whole = vaekit.Run(tmp_path / "runs" / "whole")
    assert stopped.status == "done"
    assert _rows(stopped) == _rows(whole)
    assert stopped.weights == whole.weights
    assert whole.record["ranks"] == 2


def _rows(run: vaekit.Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in run.metrics]


def _wait_for_rows(run: Path, n: int) -> None:
    until = time.monotonic() + 120
    while len(vaekit.Run(run).metrics) < n:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_accelerate_launches_it_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines"]
    command += ["1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "vaekit", "train", *SMALL, "--epochs", "1"]
    done = subprocess.run(
        [*command, "--name", "r"], capture_output=True, text=True, env=_environment(), cwd=tmp_path, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert vaekit.Run(tmp_path / "runs" / "r").record["ranks"] == 2


def test_two_nodes_are_one_job(tmp_path: Path, free_port: int) -> None:
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(node)),
                *("--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(free_port)),
                *("-m", "vaekit", "train", *SMALL, "--epochs", "1", "--name", "r"),
            ],
            env=_environment(),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    try:
        errors = [process.communicate(timeout=200)[1] for process in nodes]
    finally:
        for process in nodes:
            process.kill()
    assert [process.returncode for process in nodes] == [0, 0], errors
    assert vaekit.Run(tmp_path / "runs" / "r").record["ranks"] == 2


def test_a_wrong_option_is_said_once(tmp_path: Path) -> None:
    process = _launch("-m", "vaekit", "train", *SMALL, "--epochs", "0", cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode
    assert err.count("error: training: epochs") == 1
    assert not (tmp_path / "runs").exists()


def test_jobs_end_cleanly_fifty_times(tmp_path: Path) -> None:
    for number in range(50):
        _ran(RANK, "train", str(tmp_path), json.dumps("adversarial" if number % 2 else "idle"), "{}")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port

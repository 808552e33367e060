"""Which checkpoint is read where some are damaged, and what is said of it."""

import shutil
import warnings
from pathlib import Path

import pytest
import torch

import vaekit
from vaekit import checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of two steps."""
    for step in (10, 20):
        checkpoint.write(tmp_path / "r" / "checkpoints", ({"weights": torch.full((9,), float(step))}, {"steps": step}))
    return tmp_path / "r" / "checkpoints"


def _harm(path: Path) -> None:
    (path / "state.safetensors").write_bytes(b"")


def test_a_damaged_newest_one_is_named_in_a_warning(folder: Path) -> None:
    assert checkpoint.read(folder)[1] == {"steps": 20}
    _harm(folder / "000000020")
    with pytest.warns(UserWarning, match=r"cannot be read \(.*000000020: .*\): .*000000010 takes its place$"):
        tensors, progress = checkpoint.read(folder)
    assert progress == {"steps": 10}
    assert tensors["weights"].unique().tolist() == [10.0]


def test_a_damaged_older_one_is_nobodys_affair(folder: Path) -> None:
    _harm(folder / "000000010")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoint.read(folder)[1] == {"steps": 20}


def test_where_all_are_damaged_the_error_counts_them_and_says_what_to_do(folder: Path) -> None:
    _harm(folder / "000000010")
    (folder / "000000020" / "state.json").write_text("[]")
    said = r"\(2 damaged, the newest is .*000000020: an object is wanted\): delete that folder, and `vaekit resume .*/r` begins"
    with pytest.raises(vaekit.CheckpointError, match=said):
        checkpoint.read(folder)


def test_a_run_whose_checkpoints_were_deleted_begins_again_from_the_seed(tmp_path: Path) -> None:
    x = torch.rand(60, 6).round()
    small = {"latent": {"features": 2}, "encoder": {"hidden": [8]}, "decoder": {"hidden": [8]}, "batch_size": 16}
    run = vaekit.fit(x, **small, epochs=2, output=tmp_path, name="r", progress=False)
    before = {name: weights.clone() for name, weights in run.model.state_dict().items()}
    for path in (run.path / "checkpoints").iterdir():
        _harm(path)
    with pytest.raises(vaekit.CheckpointError, match="begins again from the seed"):
        vaekit.resume(run.path, data=x, progress=False)
    shutil.rmtree(run.path / "checkpoints")
    again = vaekit.resume(run.path, data=x, progress=False)
    assert again.status == "done"
    assert [row["epoch"] for row in again.metrics] == [1, 1, 2, 2, 2]
    for name, weights in again.model.state_dict().items():
        assert torch.equal(weights, before[name])

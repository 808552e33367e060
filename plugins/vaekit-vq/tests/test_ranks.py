"""Two processes that train together have one codebook, which is that of a single process with both batches."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from vaekit_vq import VQ, IndependentCodes, ResidualVQ

SHARES = (slice(0, 20), slice(20, 32))
"""Of a batch: ranks may have more and fewer examples."""


def _steps(latent: Any, batches: Tensor, share: slice) -> dict[str, Tensor]:
    prior = IndependentCodes(latent.root, (1,), 0)
    for x in batches:
        c = x[share, :0]
        latent(x[share], c, prior(c, None), 1)
    return dict(latent.state_dict())


def _latents(revive: float, begun: bool) -> dict[str, Any]:
    """Latents in float64, the same wherever they are made."""
    torch.manual_seed(0)
    made = {}
    for part in (VQ, ResidualVQ):
        for codebook in ("ema", "gradient"):
            options = {"quantizers": 3} if part is ResidualVQ else {}
            latent = part((5,), 0, codes=12, width=3, positions=2, codebook=codebook, revive=revive, decay=0.8, **options)
            made[f"{part.name}, {codebook}"] = latent.double()
            if begun:
                _steps(latent, torch.randn(1, 50, 5).double(), slice(None))
    return made


def _batches() -> Tensor:
    return torch.randn(6, 32, 5, generator=torch.Generator().manual_seed(7)).double()


def _be(rank: int, folder: Path) -> None:
    """What each process does."""
    known, fresh = _latents(0.0, True), _latents(0.3, False)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=2)
    found = {}
    for case, latents in (("known", known), ("fresh", fresh)):
        for name, latent in latents.items():
            torch.manual_seed(rank)
            found[f"{case} {name}"] = {k: v.clone() for k, v in _steps(latent, _batches()[:1], SHARES[rank]).items()}
            found[f"{case} {name}, later"] = _steps(latent, _batches()[1:], SHARES[rank])
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What two processes have after a step, and after more."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [subprocess.Popen([sys.executable, __file__, str(rank), str(folder)], env=environment) for rank in (0, 1)]
    try:
        assert [rank.wait(120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_both_ranks_have_the_same_codebooks(found: list[dict[str, dict[str, Tensor]]]) -> None:
    assert len(found[0]) == 16
    for case, state in found[0].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, found[1][case][name]), f"{case}: {name}"


def test_they_are_those_of_one_process_with_both_batches(found: list[dict[str, dict[str, Tensor]]]) -> None:
    for name, latent in _latents(0.0, True).items():
        alone = _steps(latent, _batches(), slice(0, 32))
        for key, tensor in found[0][f"known {name}, later"].items():
            torch.testing.assert_close(tensor, alone[key], rtol=1e-10, atol=1e-12)


def test_the_first_codebook_is_of_encodings_of_both_ranks(found: list[dict[str, dict[str, Tensor]]]) -> None:
    latent = _latents(0.3, False)["vq, gradient"]
    with torch.no_grad():
        encodings = latent.head(_batches()[0]).unflatten(1, (2, 3))
    vectors = found[0]["fresh vq, gradient"]["book.vectors"]
    gap, nearest = torch.cdist(vectors, encodings.flatten(0, 1)).min(1)
    assert gap.max() < 1e-6
    assert set((nearest >= 2 * SHARES[0].stop).tolist()) == {True, False}


if __name__ == "__main__":
    _be(int(sys.argv[1]), Path(sys.argv[2]))

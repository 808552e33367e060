"""What the tests of every plugin share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test draws the same, alone or among others."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield

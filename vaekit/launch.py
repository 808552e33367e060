"""What launchers such as torchrun tell the processes that they start."""

import os


def launched() -> bool:
    """Whether torchrun, accelerate or the like has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def speaks() -> bool:
    """Whether this process is the one of its job that speaks to people."""
    return os.environ.get("RANK", "0") == "0"

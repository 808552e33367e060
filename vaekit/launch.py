"""What launchers such as torchrun tell the processes that they start."""

import os

from vaekit.errors import ConfigError


def launched() -> bool:
    """Whether torchrun, accelerate or the like has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def speaks() -> bool:
    """Whether this process is the one of its job that speaks to people."""
    return os.environ.get("RANK", "0") == "0"


def fsdp_asked() -> bool:
    """Whether accelerate was told to shard the model.

    Raises:
        ConfigError: where it was told to do so in a way that is not ours.
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if asked and os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise ConfigError(
            "accelerate was told to offload parameters (--fsdp_offload_params), which is not done here: leave it out"
        )
    return asked

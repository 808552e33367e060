"""A latent space in your hands: a page in the browser on which a trained VAE is explored, and `vaekit demo` that opens it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaekit_demo.launching import launch as launch

__all__ = ["launch"]


def __getattr__(name: str) -> Any:
    if name != "launch":
        raise AttributeError(f"module 'vaekit_demo' has no attribute {name!r}")
    from vaekit_demo.launching import launch

    return launch

"""How a check can end other than well."""

from vaekit.errors import VaekitError


class CheckFailed(VaekitError, AssertionError):
    """A part breaks a promise of its interface."""


class NotApplicable(VaekitError):
    """A check cannot be made here."""

"""Why a plugin is out of use, in one line: what it raised, where in its own files, and what to do."""

import traceback
from importlib.metadata import Distribution
from pathlib import Path

from vaekit.errors import PluginError, short


def reason(error: BaseException, module: str, package: str) -> str:
    """What was raised while a plugin was loaded, for people.

    Args:
        error: that was raised.
        module: that the entry point names.
        package: that it comes in.
    """
    place = _place(error, _root(module))
    if isinstance(error, PluginError) and not place:
        return short(error, 600)  # vaekit's own words, which say what to do
    return f"{_said(error)}{place}: {_cure(error, module, package)}"


def unreadable(what: str, error: Exception, distribution: Distribution) -> str:
    """That what is installed with a package cannot be read, for people; pip can then neither replace nor remove it.

    Args:
        what: it is.
        error: that was raised.
        distribution: the package.
    """
    folder = short(getattr(distribution, "_path", "its folder of metadata"), 300)
    return f"its {what} cannot be read, nor by pip ({_said(error)}): delete {folder} and install it again"


def _said(error: BaseException) -> str:
    return short(f"{type(error).__name__}: {_text(error)}".removesuffix(": "), 200)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a stranger wrote it
        return ""


def _place(error: BaseException, root: str) -> str:
    """The innermost line of the plugin's own files; a SyntaxError says it by itself."""
    if isinstance(error, SyntaxError):
        return ""
    own = [
        f"{Path(frame.f_code.co_filename).name}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _root(str(frame.f_globals.get("__name__"))) == root
    ]
    return f" ({short(own[-1])})" if own else ""


def _cure(error: BaseException, module: str, package: str) -> str:
    missing = _root(str(error.name or "")) if isinstance(error, ImportError) else ""
    lacks = isinstance(error, AttributeError) and _text(error).startswith(("module 'vaekit'", "module 'vaekit."))
    if lacks or missing == "vaekit":
        return f"it was made for another vaekit: pip install --upgrade vaekit {package}"
    if missing == _root(module):
        return f"a file of its own is missing: pip install --force-reinstall {package}, or pip uninstall {package}"
    if isinstance(error, ModuleNotFoundError):
        return f"install what brings it, or pip uninstall {package}"
    return f"pip install --upgrade {package}, or pip uninstall {package}"


def _root(module: str) -> str:
    return module.partition(".")[0]

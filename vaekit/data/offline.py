"""Whether data sets may download: a block in which they may not."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_offline: ContextVar[bool] = ContextVar("vaekit.data.offline", default=False)


@contextmanager
def offline() -> Iterator[None]:
    """A block in which no data set may download; it holds for the thread that enters it."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def may_download() -> bool:
    """Whether a data set may download now; one that asks first, in the thread in which it is loaded, never does unasked.

    Where it may not, it raises a DataError that says where the files would have to be.
    """
    return not _offline.get()

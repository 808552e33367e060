"""A trace of some steps of training, by torch's profiler."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule

from vaekit.trainer import Trainer


@contextmanager
def profiled(trainer: Trainer, path: Path | None, steps: int) -> Iterator[None]:
    """A block in which ten steps are recorded after the first ten, into a file that chrome://tracing and Perfetto show.

    Of fewer than twenty steps, fewer are left out, at least one, and then fewer recorded.

    Args:
        trainer: whose steps.
        path: of the file; nothing is recorded without one.
        steps: that are to come.
    """
    if path is None:
        yield
        return
    path.unlink(missing_ok=True)
    left_out = min(10, max(1, steps - 10))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if trainer.device.type == "cuda" else [])]
    warmup = min(2, left_out)
    when = schedule(wait=left_out - warmup, warmup=warmup, active=max(1, min(10, steps - left_out)), repeat=1)
    with profile(
        activities=activities, schedule=when, on_trace_ready=lambda done: done.export_chrome_trace(str(path)), acc_events=True
    ) as recorder:
        trainer.after_step = recorder.step
        try:
            yield
        finally:
            trainer.after_step = lambda: None
    if not path.exists():
        warnings.warn("there were not enough steps to profile any", stacklevel=4)

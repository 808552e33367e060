"""A trace of some steps of training, by torch's profiler."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, schedule

from vaekit.trainer import Trainer


@contextmanager
def profiled(trainer: Trainer, path: Path | None) -> Iterator[None]:
    """A block in which ten steps are recorded after the first ten, into a file that chrome://tracing and Perfetto show.

    Args:
        trainer: whose steps.
        path: of the file; nothing is recorded without one.
    """
    if path is None:
        yield
        return
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if trainer.device.type == "cuda" else [])]
    when = schedule(wait=8, warmup=2, active=10, repeat=1)
    with profile(
        activities=activities, schedule=when, on_trace_ready=lambda done: done.export_chrome_trace(str(path)), acc_events=True
    ) as recorder:
        trainer.after_step = recorder.step
        try:
            yield
        finally:
            trainer.after_step = lambda: None

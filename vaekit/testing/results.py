"""What came of checks, for people: `vaekit check`."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vaekit.data.catalog import DataSet
from vaekit.plugins import Plugin, plugins
from vaekit.shapes import Shape
from vaekit.testing.benches import SHAPES
from vaekit.testing.outcomes import CheckFailed, NotApplicable
from vaekit.testing.suite import Check, Checked, checks_for

Outcome = Literal["ok", "FAILED", "expected failure", "not applicable"]


@dataclass(frozen=True)
class Result:
    """What came of one check.

    Args:
        part: what was checked.
        check: its name.
        outcome: in a word.
        message: why, where it is not `ok`.
        seconds: how long it took.
    """

    part: str
    check: str
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0


def made(check: Check) -> Result:
    """Make a check. One that is expected to fail and does not has failed."""
    start = time.perf_counter()
    outcome: Outcome = "ok"
    message = ""
    try:
        check()
    except CheckFailed as error:
        outcome, message = ("expected failure", check.expected) if check.expected else ("FAILED", str(error))
    except NotApplicable as error:
        outcome, message = "not applicable", str(error)
    else:
        if check.expected:
            outcome, message = (
                "FAILED",
                f"it was expected to fail ({check.expected}), and holds: take it out of expected_failures",
            )
    return Result(check.part, check.name, outcome, message, time.perf_counter() - start)


def of_plugin(plugin: Plugin, shapes: Iterable[Shape] = SHAPES) -> Iterator[Result]:
    """What comes of a plugin's loading, and of the checks of all that it brings."""
    name = f"plugin {plugin.name}"
    yield Result(name, "loads", "FAILED" if plugin.error else "ok", plugin.error, plugin.seconds)
    yield Result(name, "loads-cleanly", "FAILED" if plugin.notes else "ok", "; ".join(plugin.notes))
    brought: tuple[Checked, ...] = (*plugin.parts, *plugin.datasets)
    own = {("dataset" if isinstance(item, DataSet) else item.kind, item.name) for item in brought}
    clashes = [plugins().clash(kind, item) for kind, item in sorted(own & plugins().clashes().keys())]
    yield Result(name, "clashes-with-no-other", "FAILED" if clashes else "ok", "; ".join(clashes))
    for item in brought:
        for check in checks_for(item, shapes=shapes):
            yield made(check)

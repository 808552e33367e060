"""Data set `example`, as a vaekit plugin."""

import vaekit
from vaekit.scaffold.parts.dataset import EXAMPLE


@vaekit.hookimpl
def vaekit_datasets() -> list[vaekit.DataSet]:
    return [EXAMPLE]

"""The hooks of a plugin. A plugin is a module behind an entry point of the group `vaekit`."""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from vaekit.data.catalog import DataSet
    from vaekit.parts import Part

hookspec = pluggy.HookspecMarker("vaekit")
hookimpl = pluggy.HookimplMarker("vaekit")


@hookspec
def vaekit_parts() -> "list[type[Part]]":  # type: ignore[empty-body]
    """The parts that this plugin brings."""


@hookspec
def vaekit_datasets() -> "list[DataSet]":  # type: ignore[empty-body]
    """The data sets that this plugin brings."""

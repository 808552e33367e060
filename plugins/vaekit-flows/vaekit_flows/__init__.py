"""Normalising flows, as a vaekit plugin."""

import vaekit
from vaekit_flows.posterior import FlowLatent
from vaekit_flows.prior import FlowPrior


@vaekit.hookimpl
def vaekit_parts() -> list[type[vaekit.Part]]:
    return [FlowLatent, FlowPrior]

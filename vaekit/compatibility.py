"""Whether a package was built for this vaekit, by its own metadata: what it requires of the distribution `vaekit`."""

from importlib.metadata import Distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from vaekit.diagnosis import unreadable
from vaekit.errors import PluginError


def check_built_for(distribution: Distribution, package: str) -> None:
    """Whether what a package requires of vaekit is met; a requirement that cannot be read is none.

    Args:
        distribution: its metadata.
        package: its name.

    Raises:
        PluginError: saying what it requires, what there is, and which of the two to upgrade; or that it cannot be read.
    """
    here = Version(version("vaekit"))
    wanted = SpecifierSet()
    for line in _required(distribution):
        wanted &= _on_vaekit(line)
    unmet = [specifier for specifier in wanted if not specifier.contains(here, prereleases=True)]
    if unmet:
        upgrade = "vaekit" if any(_is_later(specifier, here) for specifier in unmet) else package
        raise PluginError(
            f"it was built for vaekit{_in_order(wanted)} and this is vaekit {here}: pip install --upgrade {upgrade}"
        )


def _required(distribution: Distribution) -> list[str]:
    try:
        return distribution.requires or []
    except Exception as error:  # metadata in another encoding than UTF-8, or none at all
        raise PluginError(unreadable("metadata", error, distribution)) from None


def _on_vaekit(line: str) -> SpecifierSet:
    """Which versions of vaekit a line of `Requires-Dist` allows, where it is on vaekit and applies here; else all of them."""
    try:
        requirement = Requirement(line)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    except ValueError:
        return SpecifierSet()
    return requirement.specifier if applies and canonicalize_name(requirement.name) == "vaekit" else SpecifierSet()


def _is_later(specifier: Specifier, here: Version) -> bool:
    """Whether a later vaekit would meet a requirement that this one does not."""
    try:
        bound = Version(specifier.version.removesuffix(".*"))
    except InvalidVersion:  # `===` compares text
        return False
    return not specifier.operator.startswith("<") and bound >= here


def _in_order(wanted: SpecifierSet) -> str:
    """With the lower bounds first, as people write them."""
    return ",".join(sorted(map(str, wanted), key=lambda text: (text.startswith("<"), text)))

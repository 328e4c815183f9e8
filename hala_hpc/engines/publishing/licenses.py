"""The license of a result, from the licenses of all that it is made of.

Models and data sets state their license in their card; what a card does not state is unknown. The
order of strictness is ours: it says what to look at first, and is no legal advice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from hala_hpc.engines.models.card_data import CARD_FILE, read_card_data
from hala_hpc.engines.publishing.lineage import OuterInput

#: Values of the hub for a license that is none of its list, and for an unknown one.
OTHER, UNKNOWN = "other", "unknown"
PERMISSIVE = frozenset(
    (
        *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
        *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "odc-by", "pddl"),
        *("unlicense", "isc", "zlib", "afl-3.0", "ms-pl", "wtfpl"),
        *("cdla-permissive-1.0", "cdla-permissive-2.0"),
    )
)
#: Beginnings of licenses that ask for the same license.
SHARE_ALIKE = (
    "cc-by-sa",
    "gpl",
    "lgpl",
    "agpl",
    "odbl",
    "osl",
    "epl",
    "mpl",
    "cdla-sharing",
    "gfdl",
)
#: Parts of the names of licenses that forbid commercial use.
NON_COMMERCIAL = ("-nc-", "-nc", "noncommercial", "non-commercial", "research")


class Strictness(IntEnum):
    """How much a license forbids, the least first."""

    PERMISSIVE = 1
    SHARE_ALIKE = 2
    OWN_TERMS = 3
    """Terms of its own, as those of many models."""
    NON_COMMERCIAL = 4
    UNKNOWN = 5


@dataclass(frozen=True)
class StatedLicense:
    """What the card of an input states."""

    source: OuterInput
    name: str
    """As the hub names it; `license_name` for one that is not on its list; empty if unknown."""
    link: str = ""

    @property
    def strictness(self) -> Strictness:
        """How much it forbids."""
        name = self.name.lower()
        if not name or name in (UNKNOWN, OTHER):
            return Strictness.UNKNOWN
        if any(part in name for part in NON_COMMERCIAL):
            return Strictness.NON_COMMERCIAL
        if name in PERMISSIVE:
            return Strictness.PERMISSIVE
        if name.startswith(SHARE_ALIKE):
            return Strictness.SHARE_ALIKE
        return Strictness.OWN_TERMS


@dataclass(frozen=True)
class DerivedLicense:
    """The license of a result, and what it follows from."""

    stated: tuple[StatedLicense, ...]
    """Of every input, the strictest first."""

    @property
    def unknown(self) -> list[StatedLicense]:
        """Inputs whose license is unknown."""
        return [one for one in self.stated if one.strictness is Strictness.UNKNOWN]

    @property
    def binding(self) -> list[StatedLicense]:
        """Inputs whose known license is not permissive, one for each license."""
        known = [one for one in self.stated if one not in self.unknown]
        strict = [one for one in known if one.strictness > Strictness.PERMISSIVE]
        by_name = {one.name: one for one in reversed(strict or known[:1])}
        return sorted(by_name.values(), key=lambda one: (-one.strictness, one.name))

    @property
    def strictest(self) -> StatedLicense | None:
        """The input that forces the license; None if no input states one."""
        return next(iter(self.binding), None)

    @property
    def name(self) -> str:
        """Value of `license` in the card."""
        if self.unknown or not self.binding:
            return UNKNOWN
        return self.binding[0].name if len(self.binding) == 1 else OTHER

    @property
    def license_name(self) -> str | None:
        """Value of `license_name`, for several licenses together."""
        names = [one.name for one in self.binding]
        return "-and-".join(names) if self.name == OTHER else None

    def sentences(self) -> list[str]:
        """What follows from what, for readers."""
        texts = []
        if (first := self.strictest) is not None:
            texts.append(
                f"The strictest license that an input states is {first.name}, of "
                f"{first.source.name}, which {first.source.used_by} reads."
            )
        for one in self.binding[1:]:
            texts.append(f"The terms of {one.name}, of {one.source.name}, hold as well.")
        if self.unknown:
            names = ", ".join(one.source.name for one in self.unknown)
            texts.append(
                f"No license is known for {names}: ask their owners before you publish or use this."
            )
        if not self.stated:
            texts.append("No input states a license: whoever owns the data of the run decides it.")
        return texts


def derive_license(inputs: Sequence[OuterInput]) -> DerivedLicense:
    """The license that follows from all inputs."""
    stated = [read_stated_license(one) for one in inputs]
    return DerivedLicense(tuple(sorted(stated, key=lambda one: (-one.strictness, one.name))))


def read_stated_license(source: OuterInput) -> StatedLicense:
    """The license in the card of an input; unknown without a card."""
    if source.folder is None:
        return StatedLicense(source, "")
    data = read_card_data(source.folder / CARD_FILE)
    found = data.get("license")
    names = [str(one) for one in (found if isinstance(found, list) else [found]) if one]
    if names == [OTHER] and data.get("license_name"):
        names = [str(data.get("license_name"))]
    link = str(data.get("license_link") or "")
    # Several licenses of one data set hold together; the strictest stands for them.
    candidates = [StatedLicense(source, name, link) for name in names]
    return max(candidates, key=lambda one: one.strictness, default=StatedLicense(source, ""))

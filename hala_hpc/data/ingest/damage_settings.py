"""Settings of `prepare` for experiments: damaged translations and samples of equal size.

Every command loads this file for the settings of prepare, so that it needs no other library.
"""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, field_validator

from hala_hpc.core.settings import TableOrValue

DamageKind = Literal["negation", "number", "untranslated", "cut"]
DAMAGE_KINDS: tuple[DamageKind, ...] = ("negation", "number", "untranslated", "cut")


class Damage(TableOrValue):
    """Faults that are put into translations; may be given as `share`."""

    single: ClassVar[str] = "share"

    share: float = Field(default=0, ge=0, le=1)
    """Share of the rows that are damaged. Each row is drawn by itself, from `seed` and its content:
    rows that a smaller share damages are damaged by a larger one, too."""
    kinds: tuple[DamageKind, ...] = DAMAGE_KINDS
    """negation: the first Arabic negation is left out; number: the first number gets another value;
    untranslated: the second half is that of the source, which the data must have; cut: the second
    half is missing. A row gets one kind, drawn from those that its texts allow."""
    seed: NonNegativeInt = 0
    """Another seed damages other rows."""

    @field_validator("kinds")
    @classmethod
    def has_kinds(cls, value: tuple[DamageKind, ...]) -> tuple[DamageKind, ...]:
        """Require at least one kind, and none twice."""
        if not value or len(set(value)) < len(value):
            raise ValueError(f"give at least one of {', '.join(DAMAGE_KINDS)}, each once")
        return value


class RowSample(TableOrValue):
    """A sample of the accepted rows, for arms of equal size; may be given as `rows`."""

    single: ClassVar[str] = "rows"

    rows: NonNegativeInt = 0
    """Number of rows; 0 takes all. Fewer accepted rows than this are an error."""
    seed: NonNegativeInt = 0
    """Another seed draws other rows. With one seed a smaller sample is part of a larger one,
    whatever the order of the data and the number of units."""

"""Token files made by the stage tokenize in this process."""

from pathlib import Path
from typing import Any

from plain_out import PlainContext, run_plain


def tokenized(base: Path, **settings: Any) -> PlainContext:
    """Run all units of the stage and its `collect`; the product is `base/tokens`."""
    place = run_plain("tokenize", settings, base)
    units = sorted(place.markers)
    (base / "tokens").mkdir(parents=True)
    folders = [place.folder(unit) for unit in units]
    markers = [place.markers[unit] for unit in units]
    place.stage.collect(markers, folders, base / "tokens")
    return place


def make_tokens(base: Path, **settings: Any) -> Path:
    """The folder of token files; by default of one unit, with nothing held out."""
    tokenized(base, **{"units": 1, "held_out": 0.0, **settings})
    return base / "tokens"

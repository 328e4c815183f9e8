"""Put the wheels of a pack on the path, except packages that this machine has.

Uses only the standard library and packaging: without the pack not even pydantic may be there. A
package of the machine wins, whatever its version. Nothing is installed, so no rights are needed.
"""

import os
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple


class Unpacked(NamedTuple):
    """Which wheels of a pack are used."""

    taken: list[str]
    there: list[str]
    """Packages that the machine has in some version."""
    unfit: list[str]
    """File names of wheels for another Python."""


def put_on_path(pack: Path, folder: Path) -> Unpacked:
    """Unpack the missing packages into `folder`, for this process and its children."""
    found = Unpacked([], [], [])
    for wheel in sorted(pack.glob("*.whl")):
        name, number, *_ = wheel.name.split("-")
        if has_package(name):
            found.there.append(name)
        elif not fits(wheel.name):
            found.unfit.append(wheel.name)
        else:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            found.taken.append(f"{name} {number}")
    if found.taken:
        # Last on the path: packages of the machine come first.
        sys.path.append(str(folder))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [before, str(folder)]))
    return found


def has_package(name: str) -> bool:
    """Whether a package of this name is installed here."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def fits(wheel: str) -> bool:
    """Whether the wheel of this file name fits this Python and this platform."""
    # Of those that transformers brings.
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    *_, tags = parse_wheel_filename(wheel)
    return not tags.isdisjoint(sys_tags())

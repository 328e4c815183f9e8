"""Record the code of a lab that this process runs: stage files, packages with stages or engines."""

import sys
from pathlib import Path

import hala_hpc

#: Files, and folders of packages, that were loaded.
_loaded_paths: set[Path] = set()


def record_loaded_file(path: Path) -> None:
    """Record a file that was loaded."""
    _loaded_paths.add(path)


def record_loaded_module(name: str) -> None:
    """Record the outermost package of a module that was imported, or the module alone."""
    top = name.partition(".")[0]
    file = next((f for n in (top, name) if (f := getattr(sys.modules.get(n), "__file__", ""))), "")
    if file and top != hala_hpc.__name__:
        path = Path(file)
        _loaded_paths.add(path.parent if path.name == "__init__.py" else path)


def foreign_name(file: str) -> str:
    """The name of a file of such code, starting with its package; empty for other files."""
    path = Path(file)
    for place in _loaded_paths:
        if place == path or place in path.parents:
            return str(path.relative_to(place.parent))
    return ""

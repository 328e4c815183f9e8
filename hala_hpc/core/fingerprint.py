"""Names for results: the same settings and inputs give the same name."""

import hashlib
import json
from pathlib import Path
from typing import Any


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits of a JSON value; keys in any order give the same."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def path_fingerprint(path: Path) -> str:
    """Fingerprint of a file or folder outside the work folder, by names, sizes and times.

    Content is not read: a login node must answer at once for files of any size.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    listing = []
    for file in files:
        status = file.stat()
        name = file.name if file == path else str(file.relative_to(path))
        listing.append([name, status.st_size, status.st_mtime_ns])
    return fingerprint(listing)

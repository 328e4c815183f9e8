"""Fingerprints of results: the same settings and inputs give the same name."""

import hashlib
import json
from pathlib import Path
from typing import Any

#: Digits of a fingerprint.
LENGTH = 12
DIGITS = frozenset("0123456789abcdef")


def compute_fingerprint(value: Any) -> str:
    """Hash a JSON value to twelve hexadecimal digits; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def is_fingerprint(text: str) -> bool:
    """Whether a text has the form of a fingerprint."""
    return len(text) == LENGTH and set(text) <= DIGITS


def fingerprint_path(path: Path) -> str:
    """Fingerprint a file or folder outside the work folder, by names, sizes and times.

    Content is not read: a login node must answer at once for files of any size. Python's bytecode
    cache is ignored: a benchmark's task files that were run get one beside them.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [file for file in files if file.parent.name != "__pycache__"]
    listing = []
    for file in files:
        status = file.stat()
        name = file.name if file == path else str(file.relative_to(path))
        listing.append([name, status.st_size, status.st_mtime_ns])
    return compute_fingerprint(listing)

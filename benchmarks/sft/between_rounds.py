"""Helpers between two rounds of the `sft` benchmark."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any


def print_progress(record: dict[str, Any]) -> None:
    """Print a progress line."""
    print(json.dumps(record), file=sys.stderr, flush=True)


def remove(*folders: Path) -> None:
    """Remove the folders of a round."""
    for folder in folders:
        shutil.rmtree(folder)


def rounded(ratios: list[float]) -> list[float]:
    """Round to four digits."""
    return [round(ratio, 4) for ratio in ratios]

"""What is done between two rounds of the measurement of `sft`."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any


def print_progress(line: dict[str, Any]) -> None:
    """A line for those who wait."""
    print(json.dumps(line), file=sys.stderr, flush=True)


def remove(*folders: Path) -> None:
    """Remove what a round left."""
    for folder in folders:
        shutil.rmtree(folder)


def rounded(ratios: list[float]) -> list[float]:
    """To four digits."""
    return [round(ratio, 4) for ratio in ratios]

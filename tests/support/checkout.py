"""Folders of the checkout that tests start processes from."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STANDIN = ROOT / "tests" / "standin"

"""Run one node of prepare on some files, and read its corpus and summary."""

import json
from pathlib import Path
from typing import Any

from command_line import CommandResult, launch

from hala_hpc.data.corpus.reader import read_rows


def prepare(folder: Path, data: list[Path], *lines: str) -> CommandResult:
    """Launch one node of prepare on these files or folders."""
    names = json.dumps(list(map(str, data)))
    text = "\n".join(["[rows]", 'stage = "prepare"', f"data = {names}", "units = 1", *lines, ""])
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    return launch("stage=prepare", f"recipe={folder / 'recipe.toml'}", f"work={folder / 'work'}")


def questions(folder: Path) -> list[str]:
    """The first user messages of the corpus, or the sources of pairs, in any order."""
    rows = read_rows(folder / "work" / "latest" / "rows" / "output")
    return sorted(
        row["source"] if "source" in row else row["messages"][0]["content"] for row in rows
    )


def summary(folder: Path) -> dict[str, Any]:
    path = folder / "work" / "latest" / "rows" / "summary.json"
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def row(name: str) -> bytes:
    """One line of JSON with a question of this name."""
    return json.dumps({"instruction": name, "output": "نعم"}).encode() + b"\n"

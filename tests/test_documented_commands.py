"""Every command of a page in docs/ is run here, by a named test, or is marked with the reason."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import ROOT

#: A block of commands, and the line of text after it.
BLOCK = re.compile(
    r"^```sh\n(?P<commands>.*?)^```\n+(?P<after>[^\n]*(?:\n(?!\n)[^\n]+)*)", re.S | re.M
)
RUN_BY = re.compile(r"<!-- run by (?P<test>\S+) -->")
NOT_RUN = re.compile(r"\*Not run here: [^*]{10,}\*", re.S)


@dataclass(frozen=True)
class CommandBlock:
    """The commands of one block of a page."""

    page: Path
    commands: str
    after: str

    @property
    def is_run_here(self) -> bool:
        """Whether neither another test runs it nor a reason says that none does."""
        return not RUN_BY.match(self.after) and not NOT_RUN.match(self.after)

    @property
    def label(self) -> str:
        """Name of the page and the first command."""
        return f"{self.page.stem}-{self.commands.split(chr(10))[0][:40]}"


def command_blocks() -> Iterator[CommandBlock]:
    """All blocks of the pages of docs/ in their order."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield CommandBlock(page, found["commands"], found["after"])


BLOCKS = list(command_blocks())


def test_no_block_of_commands_is_missed() -> None:
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")]
    assert len(BLOCKS) == sum(text.count("\n```sh\n") for text in texts) > 10


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.label)
def test_a_test_that_a_page_names_exists(block: CommandBlock) -> None:
    named = RUN_BY.match(block.after)
    paths = [named["test"]] if named else re.findall(r"tests/[\w/.]+\w", block.after)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "page",
    sorted({block.page for block in BLOCKS if block.is_run_here}),
    ids=lambda page: page.stem,
)
def test_the_commands_of_a_page_run_as_they_stand_there(page: Path, tmp_path: Path) -> None:
    blocks = [block.commands for block in BLOCKS if block.page == page and block.is_run_here]
    # Each block begins in the clone.
    commands = "".join(f"({block})\n" for block in blocks)
    for name in ("hala_hpc", "launchers", "slurm"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    hala = f'hala() {{ {shlex.quote(sys.executable)} -m hala_hpc "$@"; }}'
    done = subprocess.run(
        ["bash", "-euc", f"{hala}\n{commands}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done

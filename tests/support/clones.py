"""A clone of the project that a test may change: another commit, another file."""

import shutil
import subprocess
from pathlib import Path

from checkout import ROOT
from command_line import CommandResult, run_command

#: Who commits where the machine knows nobody.
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@localhost")


class Clone:
    """A folder with the package, its scripts and launchers, as one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("hala_hpc", "slurm", "launchers"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / ".gitignore").write_text("__pycache__/\n")
        self.git("init", "--quiet")
        self.first = self.commit()

    def git(self, *arguments: str) -> str:
        """What git says to some words in this clone."""
        done = subprocess.run(
            ["git", *AUTHOR, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit all that is there; the new commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "test")
        return self.git("rev-parse", "HEAD")

    def append(self, name: str, text: str) -> None:
        """Write lines behind those of a file."""
        with (self.folder / name).open("a") as file:
            file.write(text)

    def run(self, *arguments: str) -> CommandResult:
        """Run a launch of this clone, as a person does in it."""
        return run_command(*arguments, cwd=self.folder, PYTHONPATH=str(self.folder))

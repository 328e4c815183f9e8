"""A clone of the project in which a test can change files and commit."""

import shutil
import subprocess
from pathlib import Path

from checkout import ROOT
from command_line import CommandResult, run_command

#: Author of commits on machines without a git configuration.
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@localhost")


class Clone:
    """A repository with the package, its scripts and launchers, in one commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("hala_hpc", "slurm", "launchers"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / ".gitignore").write_text("__pycache__/\n")
        self.git("init", "--quiet")
        self.first = self.commit()

    def git(self, *arguments: str) -> str:
        """Run a git command in this clone; return its output."""
        done = subprocess.run(
            ["git", *AUTHOR, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit all files; return the new commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "test")
        return self.git("rev-parse", "HEAD")

    def append(self, name: str, text: str) -> None:
        """Append text to a file."""
        with (self.folder / name).open("a") as file:
            file.write(text)

    def run(self, *arguments: str) -> CommandResult:
        """Run a launch of this clone, in its folder."""
        return run_command(*arguments, cwd=self.folder, PYTHONPATH=str(self.folder))

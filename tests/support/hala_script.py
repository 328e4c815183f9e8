"""The command `hala` as an installation has it: a script beside the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

from command_line import CommandResult

HALA = Path(sys.executable).with_name("hala")


def hala(*arguments: str, cwd: Path | None = None, **env: str) -> CommandResult:
    """Run `hala arguments...` to its end."""
    done = subprocess.run(
        [HALA, *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)

"""Run several commands one after the other in one process, as if each had its own process.

`python in_one_process.py '[["status", "work=..."], ...]'` prints a JSON list of code, out and err.
Starting Python for each would take most of the time of a test with hundreds of commands.
"""

import contextlib
import io
import json
import runpy
import subprocess
import sys
import traceback
from collections.abc import Sequence

from command_line import CommandResult

from benchmarks.common.rights import without_root_rights

NAMES = {"doctor": "hala_hpc.doctor.__main__"}


def run_commands(
    lines: Sequence[Sequence[str]], must_drop_rights: bool = False
) -> list[CommandResult]:
    """Run commands, `[module, argument, ...]` each, in a subprocess; return their results."""
    command = [sys.executable, __file__, json.dumps(lines)]
    done = subprocess.run(
        without_root_rights(command) if must_drop_rights else command,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [CommandResult(*one) for one in json.loads(done.stdout)]


def run(module: str, arguments: Sequence[str]) -> CommandResult:
    """Run a command in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = [module, *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module(NAMES.get(module, f"hala_hpc.{module}"), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 - a traceback is what the tests look for
            code = 1
            traceback.print_exc()
    return CommandResult(code, out.getvalue(), err.getvalue())


if __name__ == "__main__":
    print(json.dumps([run(module, arguments) for module, *arguments in json.loads(sys.argv[1])]))

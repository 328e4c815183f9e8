"""Run the commands of the package in forked processes that need not import it.

A server process imports the package once and forks for each command, so that hundreds of commands
take a tenth of the time. Processes that a launch starts are started as usual.
"""

import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.own_slurm import ROOT
from benchmarks.common.rights import without_root_rights

#: Timeout of a command in seconds.
LIMIT_S = 200
#: Exit code after the timeout, as of `timeout`.
HUNG = 124
MODULES = {"doctor": "hala_hpc.doctor.__main__"}
#: Modules that commands import. Not the commands themselves, which run as programs.
IMPORTED = (
    *("hala_hpc.commands.planning.dry_run", "hala_hpc.commands.planning.run_local"),
    *("hala_hpc.commands.planning.work_folder", "hala_hpc.commands.verification"),
    *("hala_hpc.commands.monitoring.slurm_jobs", "hala_hpc.core.job_records", "hala_hpc.core.run"),
    *("hala_hpc.jobs.quarantine", "hala_hpc.jobs.repair", "hala_hpc.doctor.examine"),
    *("hala_hpc.stages.prepare", "hala_hpc.stages.tokenize", "hala_hpc.stages.translate"),
)
#: With the interpreter of the activated environment.
TERMINAL = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    "PYTHONPATH": str(ROOT),
}


class Ended(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def has_traceback(self) -> bool:
        """Whether it ended with a traceback."""
        return "Traceback (most recent call last)" in self.out + self.err

    @property
    def last_lines(self) -> str:
        """The last lines of its output, in one line."""
        return " / ".join((self.out + self.err).strip().splitlines()[-4:])


def server() -> multiprocessing.context.ForkServerContext:
    """Return the server of commands; the first call starts it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def run_door(module: str, arguments: Sequence[str], must_drop_rights: bool = False) -> Ended:
    """Run a command such as `launch` to its end.

    With `must_drop_rights` file permissions apply even if root runs this.
    """
    if must_drop_rights:
        command = [sys.executable, "-m", f"hala_hpc.{module}", *arguments]
        return run_program(without_root_rights(command))
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = server().Process(target=run, args=(module, list(arguments), str(out), str(err)))
        process.start()
        process.join(LIMIT_S)
        hung = process.is_alive()
        if hung:
            process.kill()
            process.join()
        code = HUNG if hung else process.exitcode or 0
        return Ended(code, out.read_text(errors="replace"), err.read_text(errors="replace"))


def run(module: str, arguments: list[str], out: str, err: str) -> None:
    """Run the command in this forked process."""
    for path, number in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name = MODULES.get(module, f"hala_hpc.{module}")
    sys.argv = [name, *arguments]
    sys.modules.pop(name, None)
    runpy.run_module(name, run_name="__main__")


def type_in(command: str) -> Ended:
    """Run a shell line as a user types it, in the folder of the clone."""
    return run_program(["bash", "-c", command])


def run_program(argv: Sequence[str]) -> Ended:
    """Run a program to its end."""
    try:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env={**os.environ, **TERMINAL},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(HUNG, "", f"{shlex.join(argv)} did not end in {LIMIT_S} s")
    return Ended(done.returncode, done.stdout, done.stderr)

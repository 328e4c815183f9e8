"""Run a plan on this machine: the same workers and gates, as child processes in order."""

import signal
import sys
import time

from hala_hpc.backends.local import SetupFailed, run_job
from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.progress_bar import NodeBar
from hala_hpc.core.errors import OK
from hala_hpc.core.lease import WorkLease
from hala_hpc.core.records import RoundSpec
from hala_hpc.jobs.closing import fail_node, finish_node
from hala_hpc.jobs.code_snapshot import resolve_launch_code, snapshot_code
from hala_hpc.jobs.job_files import setup_failure_reason
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import make_spec, worker_job
from hala_hpc.jobs.submission import next_spec


def run_plan_locally(command_line: CommandLine, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run every missing node to completion; return the code of the first that fails."""
    stop_on_signals()
    launched = resolve_launch_code(command_line.launcher, command_line.work)
    snapshot_code(launched)
    began = time.monotonic()
    for number, step in enumerate(chosen.values(), 1):
        if step.state == "done":
            print(f"{step.name}: already done")
            continue
        spec = make_spec(command_line.launcher, step.node.settings, step.node.stage.env, launched)
        code = run_step(step, spec, f"[{number}/{len(chosen)}] {step.name}", lease)
        if code != OK:
            return code
    print(f"complete: {len(chosen)} nodes in {command_line.work}, {time.monotonic() - began:.0f} s")
    return OK


def stop_on_signals() -> None:
    """Let SIGTERM, or a closed terminal (SIGHUP), end the workers as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup ignores SIGHUP, which then stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def run_step(step: Step, spec: RoundSpec, title: str, lease: WorkLease) -> int:
    """Run rounds of workers and gate until the node is done or has failed; return its exit code."""
    lease.require()
    step.artifact.failure_file.unlink(missing_ok=True)
    while True:
        lease.require()
        new_round = begin_round(step.artifact, step.units, step.workers, spec)
        with NodeBar(title, step.artifact, step.units) as bar:
            try:
                run_job(
                    worker_job(step.artifact, new_round.workers, spec, asked=new_round), bar.update
                )
                lease.require()
                verdict = finish_node(step.artifact)
            except SetupFailed as error:
                verdict = fail_node(
                    step.artifact, error.code, [setup_failure_reason(error, error.printed)]
                )
            bar.finish(verdict.state)
        if verdict.state == "done":
            return OK
        for line in verdict.lines:
            print(
                f"{'error' if verdict.state == 'failed' else 'retry'}: {step.name}: {line}",
                file=sys.stderr,
            )
        if verdict.state == "failed":
            print(
                f"error: {step.name}: logs are in {step.artifact.logs}; finished units "
                "are kept; run the same command again to resume",
                file=sys.stderr,
            )
            return verdict.code
        spec = next_spec(step.artifact, spec)

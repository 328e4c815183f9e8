"""Ways in which a training's job is stopped on a real SLURM."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.common.moving_files import retry_if_moved
from benchmarks.common.waiting import wait_until
from benchmarks.stops.node import LIMIT_S, RANKS, StopRun
from hala_hpc.engines.training.checkpoints import list_checkpoints, read_commit

#: Maximum seconds between the signals to two ranks.
JITTER_S = 3.0
#: The kill while saving comes within this multiple of the seconds of the previous saving.
SAVING_SHARE = 1.5
#: Seconds of a saving if none is known yet.
SAVING_S = 0.4

StopMethod = Callable[[StopRun, Random], bool]


def sigterm_with_jitter(run: StopRun, chance: Random) -> bool:
    """SIGTERM to each rank, up to three seconds apart; then the scheduler requeues the job."""
    pids = run.pids()
    if not all(pids):
        return False
    attempt = run.attempt()
    threads = [
        threading.Timer(chance.uniform(0, JITTER_S), send_signal, [parent_of(pid), signal.SIGTERM])
        for pid in pids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not run.wait(lambda: all(not is_alive(pid) for pid in pids)):
        return False
    requeue(run)
    return run.wait(lambda: run.attempt() != attempt or run.is_done())


def preemption(run: StopRun, _chance: Random) -> bool:
    """A job of a partition with higher priority takes the nodes for a moment."""
    attempt = run.attempt()
    options = ["--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null"]
    done = slurm("sbatch", "--parsable", *options, "--wrap=sleep 1")
    there = run.wait(lambda: run.attempt() != attempt or run.is_done())
    slurm("scancel", done.strip())
    return there


def walltime(run: StopRun, _chance: Random) -> bool:
    """The time limit: SLURM warns the job and ends it. It was submitted with one minute."""
    return run.wait(lambda: not run.is_queued())


def kill_of_a_rank(run: StopRun, chance: Random) -> bool:
    """SIGKILL to the model code of one rank."""
    send_signal(chance.choice(run.pids()), signal.SIGKILL)
    return run.wait(lambda: not run.is_queued())


def kill_of_a_supervisor(run: StopRun, chance: Random) -> bool:
    """SIGKILL to the supervisor of one rank."""
    pid = chance.choice(run.pids())
    if pid:
        send_signal(parent_of(pid), signal.SIGKILL)
    return run.wait(lambda: not run.is_queued())


def kill_while_saving(run: StopRun, chance: Random) -> bool:
    """SIGKILL to one rank or to all at once, at a random time while a checkpoint is saved."""
    pids = run.pids()
    victims = chance.choice([[chance.choice(pids)], pids])
    staging = run.state_dir / ".staging"
    seconds = saving_s(run)

    last = run.node.shape.steps + 1

    def is_saving_now() -> bool:
        if run.is_held():
            if run.held_step() == last:
                return True  # the last one ended between two polls
            run.hold_after(min(run.held_step() + run.node.shape.save_steps, last))
        return is_saving(staging)

    try:
        wait_until(is_saving_now, "a checkpoint is being saved", LIMIT_S, pause_s=0.001)
    except TimeoutError:
        return False
    time.sleep(chance.uniform(0, SAVING_SHARE * seconds))
    for pid in victims:
        send_signal(pid, signal.SIGKILL)
    return run.wait(lambda: not run.is_queued())


def saving_s(run: StopRun) -> float:
    """Return the seconds of saving the newest checkpoint."""
    commits = [commit for path in list_checkpoints(run.state_dir) if (commit := read_commit(path))]
    return (commits[0].seconds if commits else None) or SAVING_S


#: Used in this order.
STOPS: dict[str, StopMethod] = {
    "sigterm_with_jitter": sigterm_with_jitter,
    "kill_of_a_rank": kill_of_a_rank,
    "preemption": preemption,
    "kill_of_a_supervisor": kill_of_a_supervisor,
    "walltime": walltime,
}


def is_saving(staging: Path) -> bool:
    """Whether some attempt has begun to save a checkpoint."""
    return retry_if_moved(lambda: any(staging.glob("*/checkpoint-*")))


def parent_of(pid: int) -> int:
    """Return the parent of a process: its supervisor; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process if it exists."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def requeue(run: StopRun) -> None:
    """Requeue a job, as a scheduler does with a preempted one."""
    slurm("scontrol", "requeue", run.job)


def slurm(*argv: str) -> str:
    """Return the output of a SLURM command."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    return done.stdout


assert RANKS > 1

"""Time to submit a node of many units, compared with submitit's `map_array` of as many tasks.

`python -m benchmarks.submit --units 10000 --workers 64 --rounds 3` starts a real SLURM whose limits
allow submitit's array. Both sides run in turns, in a fresh folder, from the call to the job ids; no
job starts. Excluded are the imports and, on our side, the checks before the first submission, as
submitit has none. Then the node runs to its end with a stand-in for the engine, and `status` is
timed on it. Prints JSON as its last line:
ratio_to_submitit     seconds of ours by those of `map_array`, the median of the rounds
plan_and_submit_s, map_array_s  those seconds
submit_s              seconds of the whole command, from the interpreter's start, checks included
submit_cpu_s          seconds of CPU of it
slurm_commands        commands of SLURM that a launch runs
new_files             files that a launch leaves in the folder of the node
status_s              seconds of `status` while every unit is done and the gate is not
files, files_bound    files of the finished work folder; 3 for each unit and 20 for each worker
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.own_slurm import ROOT, own_slurm, read_command_output, wait_for_empty_queue
from benchmarks.common.standin_run import StandInRun
from benchmarks.common.waiting import WAIT_S, wait_until

#: Limits that allow submitit's array of all tasks.
CONFIG = "MaxArraySize=40001\nMaxJobCount=50000"
COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "sacctmgr", "scancel", "sinfo", "srun")
#: Timeout in seconds of any command, and of the node.
END_LIMIT_S = 3600
#: Jobs that do not start.
HELD = 'begin = "now+5hours"'
#: The comparison: as many tasks as there are units, each a call of a small function.
SUBMITIT = """
import sys, time
from submitit import SlurmExecutor
began = time.perf_counter()
executor = SlurmExecutor(folder=sys.argv[1])
executor.update_parameters(array_parallelism=64, time=60, mem="1GB",
                           additional_parameters={"begin": "now+5hours"})
jobs = executor.map_array(abs, range(int(sys.argv[2])))
print(jobs[0].job_id, time.perf_counter() - began)
"""
#: Our side: the steps of `launch` after the command line is parsed and checked.
OURS = """
import sys, time
from hala_hpc.backends.slurm import executor as slurm_executor
from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.core.lease import work_lease
from hala_hpc.core.recipe import include_input_nodes
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.commands.planning.run_slurm import submit_steps
from hala_hpc.commands.planning.work_folder import make_work_folder, write_run
line = parse_command_line(sys.argv[1:])
began = time.perf_counter()
steps = make_plan(line.nodes, line.work, line.environment)
chosen = {name: steps[name] for name in include_input_nodes(line.nodes, line.chosen)}
make_work_folder(line.work)
with work_lease(line.work) as lease:
    write_run(line, chosen, {})
    submit_steps(line, chosen, lease)
print(time.perf_counter() - began)
"""


def run(command: list[str], **variables: str) -> tuple[float, float, str]:
    """Return seconds, CPU seconds and output of a command. Raises: CalledProcessError."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {**os.environ, **variables}
    done = subprocess.run(
        command, check=True, env=env, cwd=ROOT, capture_output=True, text=True, timeout=END_LIMIT_S
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu_s, done.stdout


def counting_path(base: Path) -> tuple[str, Path]:
    """Return a PATH whose SLURM commands log each call to a file, and that file."""
    folder, log = base / "counting", base / "calls.txt"
    folder.mkdir()
    for name in COMMANDS:
        real = read_command_output("which", name).strip()
        (folder / name).write_text(f'#!/bin/sh\necho {name} >>"{log}"\nexec {real} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}", log


def ours(asked: StandInRun, work: str) -> float:
    """Return the seconds to plan and submit the node, without imports and checks."""
    arguments = asked.command(work, "arabic", asked.launcher("held", HELD))[3:]
    _, _, output = run([sys.executable, "-c", OURS, *arguments])
    end_jobs()
    return float(output.splitlines()[-1])


def whole(asked: StandInRun, work: str, path: str) -> tuple[float, float]:
    """Return seconds and CPU seconds of the whole launch command."""
    command = asked.command(work, "arabic", asked.launcher("held", HELD))
    seconds, cpu_s, _ = run(command, PATH=path)
    end_jobs()
    return seconds, cpu_s


def theirs(asked: StandInRun, name: str) -> float:
    """Return the seconds of `map_array` alone, without interpreter start and imports."""
    folder = asked.base / name
    _, _, output = run([sys.executable, "-c", SUBMITIT, str(folder), str(asked.units)])
    end_jobs()
    return float(output.split()[1])


def end_jobs() -> None:
    """Cancel all jobs of the cluster."""
    subprocess.run(["scancel", f"--user={os.getuid()}"], check=True, timeout=WAIT_S)
    wait_for_empty_queue()


def files_under(folder: Path) -> int:
    """Count the files in a folder and below; hard links count once, as in a quota."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return len({path.stat().st_ino for path in paths})


def measure(asked: StandInRun, rounds: int, finishes: bool) -> dict[str, float]:
    """Collect all figures."""
    asked.write_inputs()
    run(asked.command("base", "english", asked.launcher("local", "")))
    path, log = counting_path(asked.base)
    pairs, commands = [], []
    for number in range(rounds):
        for work in (f"work{number}", f"whole{number}"):
            # The input is done; a fresh folder has a link to it.
            (asked.base / work).mkdir(mode=0o700)
            for done in (asked.base / "base").glob("english-*"):
                (asked.base / work / done.name).symlink_to(done)
        pairs.append((ours(asked, f"work{number}"), theirs(asked, f"submitit{number}")))
        commands.append(whole(asked, f"whole{number}", path))
        print(f"round {number + 1}: {pairs[-1]} {commands[-1]}", file=sys.stderr)
    (node,) = (asked.base / "work0").glob("arabic-*")
    figures = {
        "ratio_to_submitit": round(statistics.median(o / t for o, t in pairs), 4),
        "plan_and_submit_s": round(statistics.median(o for o, _ in pairs), 3),
        "map_array_s": round(statistics.median(t for _, t in pairs), 3),
        "submit_s": round(statistics.median(s for s, _ in commands), 2),
        "submit_cpu_s": round(statistics.median(c for _, c in commands), 2),
        "slurm_commands": len(log.read_text().splitlines()) // rounds,
        "new_files": files_under(node),
    }
    return figures | (finish(asked) if finishes else {})


def finish(asked: StandInRun) -> dict[str, float]:
    """Run the node to its end; return the time of `status` and the number of files."""
    work = asked.base / "work0"
    free = asked.launcher("free", f'max_running = "{os.cpu_count()}"')
    run(asked.command(work.name, "arabic", free))
    (node,) = work.glob("arabic-*")
    wait_until(
        (node / "summary.json").exists,
        f"the end of {node.name}",
        END_LIMIT_S,
        pause_s=0.2,
        state=lambda: read_command_output("squeue"),
    )
    wait_for_empty_queue()
    files = files_under(node)
    # The state just before the gate: every unit has a marker, the node has no summary.
    (node / "summary.json").rename(node / "summary.aside")
    status = [sys.executable, "-m", "hala_hpc.status", f"work={work}"]
    seconds = [run(status)[0] for _ in range(5)]
    (node / "summary.aside").rename(node / "summary.json")
    bound = 3 * asked.units + 20 * asked.workers
    return {"status_s": round(min(seconds), 2), "files": files, "files_bound": bound}


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-finish", action="store_true", help="do not run the node to its end")
    options = parser.parse_args()
    with own_slurm(CONFIG), tempfile.TemporaryDirectory() as base:
        asked = StandInRun(Path(base), options.units, options.units, options.workers)
        figures = measure(asked, options.rounds, not options.no_finish)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Accuracy of a rehearsal's forecast of the full run: the demo on a real SLURM.

`python -m benchmarks.rehearsal` rehearses the demo on a SLURM of its own, reads what its page
expects of the full run, then runs the full demo in the same folder. Prints JSON as its last line:
rehearsal_s           seconds from the launch to the page (under 360)
full_s                seconds from the launch of the full run to its end
expected_job_hours    hours of the jobs of those nodes of the full run whose work the page knows
job_hours             hours of the same nodes, as their attempts wrote down
ratio                 expected by measured (within a third: 0.67 to 1.33)
shared                nodes whose result the full run took from the rehearsal
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.own_slurm import ROOT, own_slurm, read_command_output
from benchmarks.common.waiting import wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.attempt_records import iter_attempt_ends

#: Timeout of a run in seconds.
END_LIMIT_S = 3600


def main() -> None:
    """Run both and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="more overrides, e.g. sft.max_steps=50")
    overrides = parser.parse_args().overrides
    with own_slurm(), tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        work = Path(folder) / "work"
        arguments = ["stage=all", "recipe=demo", "launcher=minislurm", f"work={work}", *overrides]
        rehearsal_s = run([*arguments, "rehearse=true"])
        expected = expected_seconds(arguments)
        shared = [path.parent.name for path in work.glob("*/summary.json")]
        shared = [name for name in shared if not name.startswith("rehearse-")]
        full_s = run(arguments)
        took = {name: seconds_taken(work / "latest" / name) for name in expected}
        for name, seconds in took.items():
            print(f"{name}: {expected[name]:.1f} s expected, {seconds:.1f} s taken")
        hours, expected_hours = (sum(one.values()) / 3600 for one in (took, expected))
    print(
        json.dumps(
            {
                "rehearsal_s": round(rehearsal_s, 1),
                "full_s": round(full_s, 1),
                "expected_job_hours": round(expected_hours, 4),
                "job_hours": round(hours, 4),
                "ratio": round(expected_hours / hours, 3),
                "shared": sorted(name.rpartition("-")[0] for name in shared),
            }
        )
    )


def run(arguments: list[str]) -> float:
    """Run a launch and wait until its jobs have left the queue; return the seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "hala_hpc.launch", *arguments],
        cwd=ROOT,
        check=True,
        timeout=END_LIMIT_S,
    )
    wait_until(
        lambda: not read_command_output("squeue", "--noheader", f"--user={os.getuid()}"),
        "the end of a run",
        END_LIMIT_S,
        0.5,
        state=lambda: read_command_output("squeue"),
    )
    return time.monotonic() - began


def expected_seconds(arguments: list[str]) -> dict[str, float]:
    """Return the expected seconds of the jobs of each node whose work the page knows."""
    from hala_hpc.commands.command_line import parse_command_line
    from hala_hpc.commands.rehearsing.rehearsal_page import make_rehearsal_page

    page = make_rehearsal_page(parse_command_line([*arguments, "rehearse=true"]))
    print("\n".join(page.head), flush=True)
    return {name: one.job_s for name, one in page.full.items() if one.job_s is not None}


def seconds_taken(link: Path) -> float:
    """Return the seconds of all attempts of a node, of its first rank if it has several."""
    ends = iter_attempt_ends(Artifact(link.resolve()))
    return sum(end.record.seconds for end in ends if end.rank == 0)


if __name__ == "__main__":
    main()

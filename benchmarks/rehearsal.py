"""How right a rehearsal is about the full run that it stands for: the demo on a real SLURM.

`python -m benchmarks.rehearsal` rehearses the demo on a SLURM of its own, reads what its page
expects of the full run, then runs the full demo in the same folder. Prints JSON as its last line:
rehearsal_s           seconds from the launch to the page (under 360)
full_s                seconds from the launch of the full run to its end
expected_job_hours    hours of all jobs of the full run, as the page says
job_hours             the same, as their attempts wrote down
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

from benchmarks.common.own_slurm import ROOT, answer, own_slurm
from benchmarks.common.waiting import wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.attempt_records import records_of

#: Seconds after which a run is taken not to end at all.
END_LIMIT_S = 3600


def main() -> None:
    """Run both and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="more words of the line, e.g. sft.max_steps=50")
    words = parser.parse_args().words
    with own_slurm(), tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        work = Path(folder) / "work"
        line = ["stage=all", "recipe=demo", "launcher=minislurm", f"work={work}", *words]
        rehearsal_s = run([*line, "rehearse=true"])
        page = subprocess.run(
            [sys.executable, "-m", "hala_hpc.rehearsal", f"work={work}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=END_LIMIT_S,
        )
        print(page.stdout, flush=True)
        expected = expected_job_hours(work, line)
        shared = [path.parent.name for path in work.glob("*/summary.json")]
        shared = [name for name in shared if not name.startswith("rehearse-")]
        full_s = run(line)
        hours = job_hours(work)
    print(
        json.dumps(
            {
                "rehearsal_s": round(rehearsal_s, 1),
                "full_s": round(full_s, 1),
                "expected_job_hours": round(expected, 4),
                "job_hours": round(hours, 4),
                "ratio": round(expected / hours, 3),
                "shared": sorted(name.rpartition("-")[0] for name in shared),
            }
        )
    )


def run(line: list[str]) -> float:
    """Launch a line and wait until nothing of it is in the queue; the seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "hala_hpc.launch", *line], cwd=ROOT, check=True, timeout=END_LIMIT_S
    )
    wait_until(
        lambda: not answer("squeue", "--noheader", f"--user={os.getuid()}"),
        "the end of a run",
        END_LIMIT_S,
        0.5,
        state=lambda: answer("squeue"),
    )
    return time.monotonic() - began


def expected_job_hours(work: Path, line: list[str]) -> float:
    """What the page expects of all jobs of the full run; nodes that are not known count nothing."""
    from hala_hpc.commands.command_line import read_line
    from hala_hpc.commands.rehearsing.page import make_page

    page = make_page(read_line([*line, "rehearse=true"]))
    unknown = [name for name, one in page.full.items() if one.job_s is None]
    print(f"nodes of which the page knows nothing: {', '.join(unknown) or 'none'}; {work}")
    for name, one in page.full.items():
        print(f"{name}: {one.growth} times, {one.job_s} s")
    return sum(one.job_s or 0.0 for one in page.full.values()) / 3600


def job_hours(work: Path) -> float:
    """Hours of all attempts of the nodes of the full run."""
    seconds = 0.0
    for link in sorted((work / "latest").iterdir()):
        if link.name.startswith("rehearse-"):
            continue
        own = 0.0
        for end in records_of(Artifact(link.resolve())):
            own += end.record.seconds if end.rank == 0 else 0.0
        print(f"{link.name}: took {own:.1f} s")
        seconds += own
    return seconds / 3600


if __name__ == "__main__":
    main()

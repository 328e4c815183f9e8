"""Kill a translation node repeatedly, and compare its rows with its input.

`python -m benchmarks.kills --kills 1000 [--engine standin|vllm] [--levels] [--seed 1]` kills
workers (their model code, their supervisor, both) and gates with SIGKILL: at random times, and at
the n-th write, fsync, link, rename, unlink and mkdir, for every n of a run. After the kills each
run is finished and checked by `benchmarks.common.rows_check`. A wrong writer is killed in the same
way and must not pass. With `--levels` the stand-in breaks the structure of long texts, and is asked
again for their paragraphs and lines. Needs strace. Prints JSON as its last line. Exits with 1 if a
row was lost, duplicated, torn or changed, or if a kill cost more than the work since a commit.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.kills.campaign import Kills, make_node, summary, wrong_writer

#: Texts, paragraphs and lines.
LEVELS = 3


def main() -> int:
    """Kill, report, and return exit code 1 if there was a fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--engine", choices=("standin", "vllm"), default="standin")
    parser.add_argument("--levels", action="store_true", help="long texts, asked at all levels")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.levels and given.engine != "standin":
        parser.error("--levels needs --engine standin")
    began = time.monotonic()
    node = make_node(Path(tempfile.mkdtemp(prefix="hala-kills-")), given.engine, given.levels)
    kills = Kills(node, given.seed)
    kills.prepare()
    too_few = ""
    try:
        kills.run(given.kills)
    except RuntimeError as error:
        too_few = str(error)
    report = summary(kills, node.shape.redone_bound if given.engine == "standin" else None)
    wrong = wrong_writer(node, given.seed)
    good = not too_few and all(run_report.is_good for run_report in kills.reports)
    good = good and not report["redone_beyond_bound"] and not report["left_over"]
    if given.levels:
        good = good and len(kills.levels) == LEVELS
    report |= {
        "engine": given.engine,
        "too_few_kills": too_few,
        "wrong_writer": wrong,
        "wrong_writer_found": wrong["runs_found"] > 0,
        "seconds": round(time.monotonic() - began),
        "good": good and wrong["runs_found"] > 0,
    }
    if report["good"]:
        shutil.rmtree(node.base)
    else:
        print(f"the folders of failed runs are in {node.base}")
    print(json.dumps(report, ensure_ascii=False))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())

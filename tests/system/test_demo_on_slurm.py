"""The demo on a real SLURM, disturbed on its way: complete, unchanged, and its model is trained."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from checkout import ROOT, STANDIN
from command_line import CommandResult, launch, run_command
from held import HELD_VLLM, JobHold, minislurm_launcher

from benchmarks.common.waiting import WAIT_S, wait_until

# The first of them runs the demo.
pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.timeout(3600)]
#: The node whose workers are disturbed.
NODE = "arabic"
#: About half of the steps of the recipe, but for the translator, which learns late from these rows:
#: BLEU was 4 after 200 steps, 17 after 300, and 36 after 400.
STEPS = {"teacher-trained": 200, "judge": 240, "base": 150, "translator": 400, "sft": 100}
#: Fewer rows for the engines: a start of one takes longer than its answers.
FEWER_ROWS = ("teacher_english=100", "parallel=3000", "english=400", "questions=200")
#: Settings that change results, so they belong to every line: also an engine that can be held.
SAME = (
    *(f"{node}.max_steps={steps}" for node, steps in STEPS.items()),
    *(f"sample.{setting}" for setting in FEWER_ROWS),
    "teacher-pairs.max_rejected_fraction=1",
    f"{NODE}.engine.name={HELD_VLLM}",
)
CHANGED = (*SAME, "merge.t=0.5,1")
ANOTHER_T = (*SAME, "merge.t=0.25,0.5")
#: Several ranks and workers only where a test checks them: each imports everything again.
ALONE = ("teacher-trained", "judge", "base", "translator")
PLACES = (
    "stage=all",
    "recipe=demo",
    "teacher-pairs.resources.workers=1",
    *(f"{node}.resources.nodes=1" for node in ALONE),
)
OVERRIDES = (*PLACES, *CHANGED)
ARGUMENTS = (*OVERRIDES, "launcher=minislurm")
#: Answers of a worker before it waits to be disturbed: some of its work, and not all.
SOME = 40


class Run(NamedTuple):
    """A finished run of the demo."""

    work: Path

    def summary(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.work / "latest" / node / "summary.json").read_text()
        )
        return found

    def status(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in status(self.work)}


def status(work: Path) -> list[dict[str, Any]]:
    ended = run_command(f"work={work}", "format=json", module="status")
    assert ended.code == 0, ended
    nodes: list[dict[str, Any]] = json.loads(ended.out)["nodes"]
    return nodes


def slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
    return done.stdout


def wait_for(true: Callable[[], bool], what: str, work: Path, minutes: float) -> None:
    def poll() -> bool:
        failed = [path.read_text() for path in work.glob("*/failure.json")]
        assert not failed, failed
        return true()

    wait_until(poll, what, 60 * minutes, 0.5, state=lambda: slurm("squeue"))


def records_of_workers(work: Path) -> dict[int, dict[str, Any]]:
    """Progress of the workers of the node that is disturbed."""
    files = (work / "latest" / NODE / "progress").glob("*-0000.json")
    return {record["worker"]: record for record in (json.loads(file.read_text()) for file in files)}


def running_workers(work: Path) -> dict[int, str]:
    """Worker number to the SLURM node it runs on."""
    jobs = json.loads((work / "latest" / NODE / "jobs.json").read_text())
    listing = slurm(
        "squeue",
        "--noheader",
        "--array",
        "--states=RUNNING",
        f"--jobs={jobs['workers']}",
        "--format=%K|%N",
    )
    return {int(row.split("|")[0]): row.split("|")[1] for row in listing.splitlines()}


def preempt(work: Path, worker: int) -> None:
    """Let the high partition take every GPU of the node that a worker runs on."""
    node = running_workers(work)[worker]
    slurm(
        "sbatch",
        "--partition=high",
        f"--nodelist={node}",
        "--gpus-per-node=8",
        "--output=/dev/null",
        "--mem=1G",
        "--wrap",
        "sleep 10",
    )
    wait_for(lambda: worker not in running_workers(work), "a worker was preempted", work, 5)


def disturb(work: Path) -> None:
    """Kill one worker with SIGKILL and have the other preempted, both at work."""

    def both_work() -> bool:
        records = records_of_workers(work).values()
        return len([record for record in records if record.get("tokens")]) == 2

    wait_for(both_work, "both workers have answers", work, 30)
    victim = records_of_workers(work)[1]
    supervisor = int(Path(f"/proc/{victim['pid']}/stat").read_text().split()[3])
    os.kill(supervisor, signal.SIGKILL)
    preempt(work, 0)


@pytest.fixture(scope="module")
def run(minislurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo, run once for all tests of this file."""
    assert minislurm.exists()
    work = tmp_path_factory.mktemp("demo") / "work"
    held = JobHold(work.parent, SOME)
    ended = launch(*OVERRIDES, minislurm_launcher(work.parent, held.variables), f"work={work}")
    assert ended.code == 0, ended
    disturb(work)
    held.release()
    wait_for(lambda: all(node["state"] == "done" for node in status(work)), "all done", work, 25)
    return Run(work)


def test_it_ends_complete_with_every_row_accounted_for(run: Run) -> None:
    for node in run.status().values():
        assert node["state"] == "done"
        assert node["units_done"] == node["units"]
        assert node["rows_in"] == node["rows_out"] + node["rows_rejected"]
        summary = run.summary(node["name"])
        assert sum(summary["rejected"].values()) == node["rows_rejected"]
    found = run.status()
    assert found["arabic"]["rows_in"] == found["english"]["rows_out"] > 0
    assert found["parallel-judged"]["rows_in"] == found["parallel"]["rows_out"] > 0


def test_one_worker_was_preempted_and_another_killed(run: Run) -> None:
    jobs = json.loads((run.work / "latest" / NODE / "rounds/0001.json").read_text())
    assert len(jobs["assignment"]) == 2
    ends = slurm(
        "sacct",
        "--duplicates",
        "--noheader",
        "--allocations",
        "--parsable2",
        "--format=JobID,State",
    )
    assert re.search(r"\|PREEMPTED", ends), ends
    assert run.summary(NODE)["rounds"] >= 2
    first = [
        json.loads(path.read_text())
        for path in (run.work / "latest" / NODE / "attempts").glob("r0001-w00000-*.json")
    ]
    assert any("SIGTERM" in reason for end in first for reason in end["reasons"]), first


def test_sft_ran_on_two_nodes_with_deepspeed(run: Run) -> None:
    artifact = (run.work / "latest/sft").resolve()
    # Asked of the engine that ran; its checkpoints go once the model is finished.
    assert run.summary("sft")["details"]["engine"].startswith("deepspeed zero-")
    assert not list(artifact.glob("kept/00000/checkpoint-*"))
    job = json.loads((artifact / "jobs.json").read_text())["workers"]
    nodes = slurm(
        "sacct",
        "--noheader",
        "--allocations",
        "--parsable2",
        "--jobs",
        job,
        "--format=NNodes,State",
    ).splitlines()
    assert nodes == ["2|COMPLETED"]
    assert len(list(artifact.glob("progress/00000-*.json"))) == 2


def rows_of(work: Path, node: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    parts = sorted((work / "latest" / node / "output").glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_the_translations_equal_those_of_an_undisturbed_run(run: Run, tmp_path: Path) -> None:
    work = tmp_path / "undisturbed"
    merges = [node for node in run.status() if node.startswith("merge-")]
    later = (NODE, "sft-tokens", "sft", *merges, "evaluate", "report", "translator-scores")
    needed = [node for node in run.status() if node not in later]
    for node in needed:
        artifact = (run.work / "latest" / node).resolve()
        shutil.copytree(artifact, work / artifact.name)
    arguments = (f"stage={NODE}", "recipe=demo", "launcher=local", f"work={work}", *CHANGED)
    ended = launch(*arguments, PYTHONPATH=os.pathsep.join(map(str, (STANDIN, ROOT))))
    assert ended.code == 0, ended
    assert (work / "latest" / NODE).resolve().name == (run.work / "latest" / NODE).resolve().name
    assert rows_of(work, NODE) == rows_of(run.work, NODE)


def scores(run: Run, node: str) -> dict[str, Any]:
    found: dict[str, Any] = run.summary(node)["details"]["scores"]
    return found


def test_the_translator_is_far_better_than_its_base(run: Run) -> None:
    found = scores(run, "translator-scores")
    base, tuned = found["base"], found["translator"]
    assert tuned["bleu"] >= base["bleu"] + 10
    assert tuned["chrf++"] >= base["chrf++"] + 20


def test_the_loss_falls_in_every_fine_tuning(run: Run) -> None:
    for node in STEPS:
        details = run.summary(node)["details"]
        assert details["loss_last"] < 0.5 * details["loss_first"], (node, details)


def test_base_tuned_and_every_merge_are_scored_side_by_side(run: Run) -> None:
    found = scores(run, "evaluate")
    assert list(found) == ["base", "tuned", "merged-t0.5", "merged-t1"]
    for values in found.values():
        assert {"hala_demo_arabic/acc", "hala_demo_english/acc"} <= values.keys()


def test_the_base_knows_english_before_it_learns_arabic(run: Run) -> None:
    base = scores(run, "evaluate")["base"]
    # Chance is 0.25, and its standard error for 200 questions is 0.03.
    assert base["hala_demo_english/acc"] > 0.35
    assert base["hala_demo_english/acc"] > base["hala_demo_arabic/acc"]


def test_the_report_shows_the_scores_the_sweep_and_every_node(run: Run) -> None:
    output = run.work / "latest/report/output"
    page, text = (output / "report.html").read_text(), (output / "report.md").read_text()
    for name in ("BLEU", "chrF++", "translator", "merged-t0.5", "<svg"):
        assert name in page
    assert "BLEU" in text
    assert "(chosen)" in text
    assert "On the other half" in text
    for name in ("sweep-merge-t", "tradeoff-merge-t"):
        assert (output / f"figures/{name}.svg").is_file()
    assert "<script" not in page


def test_make_demo_ends_at_once_on_a_finished_run(run: Run) -> None:
    done = subprocess.run(
        ["make", "demo", "ARGS=" + " ".join([f"work={run.work}", *CHANGED])],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done
    assert "nothing to submit" in done.stdout


def submitted_nothing(ended: CommandResult) -> bool:
    return ended.code == 0 and "nothing to submit" in ended.out


def test_the_same_command_again_submits_nothing(run: Run) -> None:
    before = slurm("sacct", "--noheader", "--allocations", "--format=JobID").split()
    assert submitted_nothing(launch(*ARGUMENTS, f"work={run.work}"))
    assert slurm("sacct", "--noheader", "--allocations", "--format=JobID").split() == before


def stored_evaluations(work: Path) -> list[tuple[str, str]]:
    """Model and tasks of every result of a benchmark, by their digests."""
    found = [json.loads(path.read_text()) for path in work.glob("evaluations/*/evaluation.json")]
    return sorted((one["key"]["model"], one["key"]["tasks"]) for one in found)


def test_no_model_is_evaluated_twice(run: Run) -> None:
    found = stored_evaluations(run.work)
    assert len(found) == len(set(found))
    assert len({model for model, _ in found}) <= len(scores(run, "evaluate"))
    assert len({tasks for _, tasks in found}) == 2


def plan_with_another_t(run: Run) -> str:
    places = (*PLACES, *ANOTHER_T, "launcher=minislurm")
    ended = launch(*places, f"work={run.work}", "dry_run=true")
    assert ended.code == 0, ended
    # Behind the commands and the script of the jobs.
    return ended.out.rpartition("\nrecipe ")[2]


def to_do(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines() if re.search(r" (stale|new) ", line)]


def test_another_t_evaluates_the_new_model_only(run: Run) -> None:
    assert to_do(plan_with_another_t(run)) == ["merge-t0.25", "evaluate", "report"]
    before = stored_evaluations(run.work)
    arguments = (f"work={run.work}", *ANOTHER_T)
    ended = launch("stage=evaluate", "recipe=demo", "launcher=local", *arguments)
    assert ended.code == 0, ended
    done = re.findall(r"^\[\d+/\d+\] (\S+): done", ended.out, re.M)
    assert done == ["merge-t0.25", "evaluate"]
    new = Counter(stored_evaluations(run.work)) - Counter(before)
    assert (len(new), len({model for model, _ in new})) == (2, 1), new
    assert to_do(plan_with_another_t(run)) == ["report"]
    assert submitted_nothing(launch(*ARGUMENTS, f"work={run.work}"))

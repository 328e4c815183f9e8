"""What a newcomer stumbled over in a first hour with the README, and may not meet again."""

import json
import tomllib
from pathlib import Path

from builds import built_for_gpus
from checkout import ROOT
from command_line import launch, one_row_recipe, recipe, run_command
from test_readme import blocks

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.job_records import AttemptRecord, FailureReason
from hala_hpc.core.records import NodeConfig, RunNodeRecord, RunRecord
from hala_hpc.core.run import run_file

MISSED = ", which it waits for, was not finished"


def run_of(work: Path, *names: str) -> dict[str, Artifact]:
    """A folder of a run whose nodes have begun and are not at work."""
    nodes = tuple(
        RunNodeRecord(name=name, stage="merge", units=1, artifact=f"{name}-0123456789ab")
        for name in names
    )
    overrides = {"stage": "all", "recipe": "demo", "work": str(work)}
    RunRecord(overrides=overrides, recipe="demo", nodes=nodes).write(run_file(work))
    return {node.name: Artifact(work / node.artifact) for node in nodes}


def test_nodes_that_only_missed_their_input_do_not_hide_the_one_that_failed(work: Path) -> None:
    folders = run_of(work, "first", "second", "third")
    cancelled = FailureReason(text="its only job was cancelled", kind=FailureClass.CANCELLED)
    first, second = (
        FailureReason(text=f"{name}{MISSED}", kind=FailureClass.SECONDARY)
        for name in ("first", "second")
    )
    reasons = {"first": [cancelled], "second": [first], "third": [first, second]}
    for name, artifact in folders.items():
        artifact.write_config(NodeConfig(node=name, stage="merge", units=1))
        artifact.write_failure(66, reasons[name])
    output = run_command(f"work={work}", module="status").out
    assert "second, third" in next(line for line in output.splitlines() if "not started" in line)
    assert MISSED not in output.split("\n\n", 1)[1]
    assert "its only job was cancelled" in output


def test_status_of_what_was_stopped_reports_it_and_how_to_resume(work: Path) -> None:
    folders = run_of(work, "first", "second")
    record = AttemptRecord(code=75, worker=0)
    record.write(folders["first"].attempt_file("r0001-w00000-1-0"))
    output = run_command(f"work={work}", module="status").out
    rows = {line.split()[0]: line.split()[2] for line in output.splitlines() if " merge " in line}
    assert rows == {"first": "partial", "second": "new"}
    assert "nothing is running; resume with: python -m hala_hpc.launch stage=all" in output
    output = run_command(f"work={work}", module="retry").out
    assert "resume what is not done with: python -m hala_hpc.launch stage=all" in output


def test_logs_of_a_node_that_has_not_begun_name_the_node(work: Path) -> None:
    run_of(work, "first", "second")
    ended = run_command(f"work={work}", "node=second", module="logs")
    assert ended.code == 66
    assert "no worker of node=second has started" in ended.err


def test_logs_report_that_nothing_has_failed(tmp_path: Path, work: Path) -> None:
    assert launch("stage=all", one_row_recipe(tmp_path), f"work={work}").code == 0
    assert run_command(f"work={work}", module="logs").out.startswith("nothing has failed; ")
    assert run_command(f"work={work}", "node=corpus", module="logs").out.startswith(
        "corpus: worker 0"
    )


def test_an_argument_with_dashes_is_answered_with_the_argument_that_is_meant(work: Path) -> None:
    ended = launch("stage=all", "--dry-run", f"work={work}")
    assert (ended.code, "write dry_run=..., without dashes" in ended.err) == (64, True)


def test_a_stale_node_names_the_setting_inside_a_table(tmp_path: Path, work: Path) -> None:
    argument = recipe(tmp_path, (ROOT / "hala_hpc/recipes/demo.toml").read_text())
    node = next(
        path
        for path in (
            launch("stage=arabic", argument, f"work={work}", "dry_run=true").out.splitlines()
        )
        if path.startswith("arabic ")
    )
    assert " new " in node
    settings = {"engine": {"max_model_len": 1024, "max_new_tokens": 255, "step_timeout_s": 9.0}}
    older = Artifact(work / "arabic-0123456789ab")
    older.write_config(NodeConfig(node="arabic", stage="translate", units=1, settings=settings))
    output = launch("stage=arabic", argument, f"work={work}", "dry_run=true").out
    assert "engine.max_new_tokens: 255 -> 256" in output
    assert "engine.max_model_len" not in output
    assert "step_timeout_s" not in output


def test_a_dry_run_ends_with_the_plan(tmp_path: Path) -> None:
    ended = launch("stage=report-350m", "recipe=hala", "launcher=slurm", f"work={tmp_path}/w")
    assert ended.code != 0
    plan = launch(
        "stage=report-350m", "recipe=hala", "launcher=slurm", f"work={tmp_path}/w", "dry_run=true"
    ).out
    assert 0 < plan.index("--job-name=") < plan.index("\nnode ") < plan.index("-m hala_hpc.fetch ")
    assert "sbatch" not in plan[plan.index("\nnode ") :]


def test_rows_with_fields_of_their_own_are_answered_with_rename(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "Say 1", "a": "1"}\n')
    argument = recipe(tmp_path, f'[corpus]\nstage="prepare"\ndata="{tmp_path}/rows.jsonl"\n')
    ended = launch("stage=all", argument, f"work={tmp_path}/w", "dry_run=true")
    assert 'rename = { q = "instruction", a = "output" }' in ended.err


def test_the_package_alone_names_its_commands() -> None:
    ended = run_command(module="__main__")
    assert ended.code == 0
    assert [line.split()[2] for line in ended.out.splitlines()][:4] == [
        "hala_hpc.launch",
        "hala_hpc.new",
        "hala_hpc.fetch",
        "hala_hpc.inspect",
    ]
    assert run_command("stage=all", module="__main__").code == 64


def test_the_recipe_of_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    assert list(tomllib.loads(text)) == ["mine", "arabic"]
    (tmp_path / "mine.toml").write_text(text)
    rows = [{"question": f"What is {n} + {n}?", "answer": f"{2 * n}"} for n in range(50)]
    (tmp_path / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    arguments = ["recipe=mine.toml", "work=w", built_for_gpus(tmp_path, "slurm")]
    plan = launch("stage=all", *arguments, "dry_run=true", cwd=tmp_path)
    assert plan.code == 0, plan
    assert "2 would be submitted" in plan.out
    assert launch("stage=mine", "recipe=mine.toml", "work=w", cwd=tmp_path).code == 0
    summary = json.loads((tmp_path / "w/latest/mine/summary.json").read_text())
    assert (summary["rows_in"], summary["rows_out"]) == (50, 50)

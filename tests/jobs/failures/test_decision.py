"""Changes of the next round, and when there is none, from the files of a node."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from checkout import STANDIN
from command_line import launch, one_row_recipe
from message_checks import assert_message
from slow_run import standin_variables, write_stand_in_recipe

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.job_records import AttemptRecord, Failure, RoundFailures
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import NodeConfig, RoundSpec
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.closing import finish_node
from hala_hpc.jobs.failures.decision import Decision, adjusted_spec, decide
from hala_hpc.jobs.failures.policy import BAD_NODES, BLAMELESS
from hala_hpc.jobs.rounds import (
    begin_round,
    count_infrastructure_failures,
    count_rounds_without_progress,
)
from hala_hpc.jobs.submission import next_spec

pytestmark = pytest.mark.kinds

MODEL_AND_CORPUS = {"model": "org/model", "corpus": "@corpus"}


def make_spec(options: dict[str, str] | None = None, mem_limit_gb: int | None = None) -> RoundSpec:
    return RoundSpec(
        launcher=Launcher(name="test", backend="slurm"),
        env="main",
        commit="",
        settings=MODEL_AND_CORPUS,
        resources=Resources(
            mem_gb=100,
            mem_limit_gb=mem_limit_gb,
            timeout_min=60,
            options=options or {"partition": "gpu"},
        ),
    )


def node(folder: Path, stage: str = "translate") -> Artifact:
    """A node of one unit that was never started."""
    artifact = Artifact(folder / "node-12345678")
    artifact.write_config(NodeConfig(node="node", stage=stage, fingerprint="12345678", units=1))
    return artifact


def fails(artifact: Artifact, spec: RoundSpec, *failures: Failure, **more: Any) -> Decision:
    """The decision after a round with this spec that ended with these failures."""
    number = begin_round(artifact, 1, 1, spec).round
    RoundFailures(failures=failures, **more).write(artifact.failures_file(number))
    return decide(artifact, spec)


def at(kind: FailureClass, node: str = "node1", attempt: str = "a", signature: str = "") -> Failure:
    return Failure(
        kind=kind,
        text=f"why it was {kind}",
        attempt=attempt,
        worker=0,
        nodes=(node,),
        signature=signature,
    )


def test_bad_nodes_join_those_that_were_excluded_before(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    spec = make_spec(options={"partition": "gpu", "exclude": "node[7-9]"})
    decision = fails(
        artifact,
        spec,
        at(FailureClass.NODE_FAILURE, "node3"),
        at(FailureClass.NODE_FAILURE, "node3", "b"),
        at(FailureClass.PREEMPTED),
    )
    assert decision.code == 0
    assert decision.is_blameless
    assert decision.spec.resources.options["exclude"] == "node[7-9],node3"
    (because,) = decision.spec.because
    assert_message(because, "node3 is excluded: why it was node_failure")
    assert adjusted_spec(artifact, spec) == decision.spec
    again = fails(artifact, decision.spec, at(FailureClass.NODE_FAILURE, "node4"))
    assert again.spec.resources.options["exclude"] == "node[7-9],node3,node4"
    (because,) = again.spec.because
    assert_message(because, "node4 is excluded: why it was node_failure")


def test_nodes_that_were_asked_for_by_name_are_not_left_out(tmp_path: Path) -> None:
    decision = fails(
        node(tmp_path), make_spec(options={"nodelist": "node1"}), at(FailureClass.NODE_FAILURE)
    )
    assert decision.code == 69
    assert_message(decision.reasons[0].text, "options.nodelist=node1")


def test_too_many_bad_nodes_are_another_trouble(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for number in range(BAD_NODES.limit):
        decision = fails(artifact, spec, at(FailureClass.NODE_FAILURE, f"node{number}"))
        assert decision.code == 0
        spec = decision.spec
    decision = fails(artifact, spec, at(FailureClass.NODE_FAILURE, "node8"))
    assert decision.code == 69
    assert_message(decision.reasons[0].text, "9 nodes failed (node0, node1,")


def test_a_node_where_engines_die_twice_is_excluded(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    first = fails(
        artifact,
        make_spec(),
        at(FailureClass.ENGINE, "node2", "a"),
        at(FailureClass.ENGINE, "node3", "b"),
    )
    assert first.spec.because == ()
    second = fails(artifact, first.spec, at(FailureClass.ENGINE, "node2", "c"))
    assert second.spec.resources.options["exclude"] == "node2"
    assert_message(second.spec.because[0], "the engine died 2 times there")


def seen_at(node: str) -> Failure:
    """A node failure that SLURM reported as well."""
    lost = at(FailureClass.NODE_FAILURE, node)
    return lost.model_copy(update={"confirmed_by_scheduler": True})


def test_a_recovered_node_is_no_longer_excluded(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    first = make_spec(options={"partition": "gpu", "exclude": "node[7-9]"})
    spec = fails(artifact, first, seen_at("node3"), seen_at("node4")).spec
    assert spec.resources.options["exclude"] == "node[7-9],node3,node4"
    back = fails(artifact, spec, at(FailureClass.KILLED), recovered_nodes=("node3",))
    assert back.spec.resources.options["exclude"] == "node[7-9],node4"
    assert [bad.name for bad in back.spec.bad_nodes] == ["node4"]
    assert_message(back.spec.because[0], "node3 is no longer excluded")
    assert not back.has_changed, "that it came back is no remedy: such rounds are idle"
    again = fails(artifact, back.spec, seen_at("node3"), recovered_nodes=("node4",))
    assert again.spec.resources.options["exclude"] == "node[7-9],node3"
    last = fails(artifact, again.spec, at(FailureClass.KILLED), recovered_nodes=("node3",))
    assert last.spec.resources.options["exclude"] == "node[7-9]"


def test_nodes_that_fail_one_after_the_other_never_exclude_more_than_half_of_a_partition(
    tmp_path: Path,
) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for number in range(1, 9):
        bad = seen_at(f"node{number % 4}")
        decision = fails(artifact, spec, bad, max_excluded=2, time=float(number))
        assert decision.code == 0, decision
        assert decision.is_blameless
        spec = decision.spec
        excluded = spec.resources.options["exclude"].split(",")
        assert excluded == [f"node{n % 4}" for n in range(max(1, number - 1), number + 1)]
        assert len(spec.bad_nodes) == len(excluded)


def test_bad_gpus_on_more_nodes_than_may_be_left_out_are_another_trouble(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    first = fails(artifact, make_spec(), at(FailureClass.NODE_FAILURE), max_excluded=1)
    assert first.code == 0
    assert first.spec.bad_nodes[0].until_boot
    second = fails(artifact, first.spec, at(FailureClass.NODE_FAILURE, "node2"), max_excluded=1)
    assert second.code == 69
    assert_message(second.reasons[0].text, "2 nodes failed (node1, node2)", "at most 1")


def test_an_engine_that_dies_on_the_only_node_is_started_there_again(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for attempt in ("a", "b", "c"):
        bad = at(FailureClass.ENGINE, attempt=attempt)
        decision = fails(artifact, spec, bad, max_excluded=0)
        assert decision.code == 0
        spec = decision.spec
        assert "exclude" not in spec.resources.options
        assert not decision.has_changed


def test_a_node_that_was_asked_for_by_name_and_was_away_is_asked_for_again(tmp_path: Path) -> None:
    spec = make_spec(options={"nodelist": "node1"})
    decision = fails(node(tmp_path), spec, seen_at("node1"))
    assert (decision.code, decision.spec.bad_nodes) == (0, ())


def test_nodes_of_rounds_that_only_named_them_are_read() -> None:
    values = {**make_spec().to_values(), "bad_nodes": ["node3"]}
    (bad,) = RoundSpec.model_validate(values).bad_nodes
    assert (bad.name, bad.until_boot) == ("node3", False)


@pytest.mark.parametrize(
    ("own", "site", "expected"), [(None, None, 150), (120, None, 120), (None, 128, 128)]
)
def test_memory_grows_by_half_up_to_its_limit(
    own: int | None, site: int | None, expected: int, tmp_path: Path
) -> None:
    artifact, spec = node(tmp_path), make_spec(mem_limit_gb=own)
    decision = fails(artifact, spec, at(FailureClass.HOST_OOM), memory_limit_gb=site)
    assert decision.spec.resources.mem_gb == expected
    result = f"mem_gb is {expected} instead of 100: why it was host_oom"
    (because,) = decision.spec.because
    assert_message(because, result)
    if expected < 150:
        last = fails(artifact, decision.spec, at(FailureClass.HOST_OOM), memory_limit_gb=site)
        assert last.code == 78
        assert_message(last.reasons[0].text, f"at most {expected} may be requested")


def test_memory_that_grows_is_no_idleness(tmp_path: Path) -> None:
    artifact, spec, expected = node(tmp_path), make_spec(), 100
    for _ in range(5):
        fails(artifact, spec, at(FailureClass.HOST_OOM), memory_limit_gb=10_000)
        expected = math.ceil(1.5 * expected)
        spec = next_spec(artifact, spec)
        assert (spec.resources.mem_gb, spec.rounds_without_progress) == (expected, 0)


def test_rows_at_once_are_halved_down_to_one(tmp_path: Path) -> None:
    artifact, spec, seen = node(tmp_path), make_spec(), []
    for _ in range(8):
        decision = fails(artifact, spec, at(FailureClass.GPU_OOM))
        assert decision.code == 0
        spec = decision.spec
        seen.append(spec.settings["engine"]["max_num_seqs"])
    assert seen == [128, 64, 32, 16, 8, 4, 2, 1]
    assert_message(spec.because[0], "engine.max_num_seqs is 1 instead of 2: out of GPU memory")
    decision = fails(artifact, spec, at(FailureClass.GPU_OOM))
    assert decision.code == 78
    assert_message(decision.reasons[0].text, "single row")


def test_preemptions_without_progress_are_not_idle_but_have_a_bound(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for count in range(1, BLAMELESS.limit + 1):
        fails(artifact, spec, at(FailureClass.PREEMPTED))
        assert (
            count_rounds_without_progress(artifact),
            count_infrastructure_failures(artifact),
        ) == (0, count)
        spec = next_spec(artifact, spec)
    artifact.state_dir(0).mkdir(parents=True)
    (artifact.state_dir(0) / "piece").touch()
    assert count_infrastructure_failures(artifact) == 0, "progress makes all of them good"
    (artifact.state_dir(0) / "piece").unlink()
    reasons = ("stopped by SIGTERM",)
    record = AttemptRecord(worker=0, code=75, reasons=reasons, seconds=9, stopped=True, node="n")
    record.write(artifact.attempt_file(str(AttemptName(artifact.last_round(), 0, "7_0", 0))))
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("failed", 75)
    assert_message(
        verdict.reasons[0].text, f"{BLAMELESS.limit} rounds of jobs in a row were preempted or lost"
    )


def test_time_that_runs_out_without_progress_is_idle(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for count in (1, 2):
        fails(artifact, spec, at(FailureClass.TIMEOUT))
        assert count_rounds_without_progress(artifact) == count
        spec = next_spec(artifact, spec)


def test_a_cancelled_job_is_not_tried_again(tmp_path: Path) -> None:
    decision = fails(
        node(tmp_path), make_spec(), at(FailureClass.PREEMPTED), at(FailureClass.CANCELLED)
    )
    assert decision.code == 75
    assert_message(decision.reasons[0].text, "run the same command again to resume")


def test_the_same_traceback_stops_across_rounds_and_ranks_of_an_attempt_are_one(
    tmp_path: Path,
) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for attempt in ("a", "b"):
        ranks = [at(FailureClass.EXCEPTION, f"node{rank}", attempt, "same") for rank in range(4)]
        decision = fails(
            artifact, spec, *ranks, at(FailureClass.EXCEPTION, "node1", attempt, "another")
        )
        assert decision.code == 0
        spec = decision.spec
    decision = fails(artifact, spec, at(FailureClass.EXCEPTION, "node1", "c", "same"))
    assert decision.code == 70
    assert_message(decision.reasons[0].text, "3 attempts ended with the same traceback, same: ")
    fresh = make_spec()
    assert fails(artifact, fresh, at(FailureClass.EXCEPTION, "node1", "d", "same")).code == 0, (
        "a user launched again"
    )


@pytest.mark.slow
def test_a_translation_out_of_gpu_memory_continues_with_fewer_rows(
    tmp_path: Path, work: Path
) -> None:
    variables: dict[str, Any] = standin_variables(0)
    arguments = ["stage=arabic", write_stand_in_recipe(tmp_path, 40), f"work={work}"]
    result = launch(
        *arguments, "arabic.engine.max_num_seqs=32", HALA_FAULT="gpu_memory=8", **variables
    )
    assert result.code == 0, result
    assert_message(result.err, "engine.max_num_seqs is 16 instead of 32")
    summary = json.loads((work / "latest/arabic/summary.json").read_text())
    assert [text.partition(":")[0] for text in summary["because"]] == [
        "engine.max_num_seqs is 16 instead of 32",
        "engine.max_num_seqs is 8 instead of 16",
    ]
    assert summary["rows_out"] == 40


def test_a_defect_on_this_machine_ends_after_two_idle_rounds(tmp_path: Path, work: Path) -> None:
    arguments = ["stage=all", one_row_recipe(tmp_path), f"work={work}"]
    result = launch(*arguments, HALA_FAULT="defect", PYTHONPATH=str(STANDIN))
    assert result.code == 70
    assert_message(result.err, "2 rounds of jobs ended without progress")
    assert "ZeroDivisionError" in result.err

"""What the next round does differently, and when there is none: from the files of a node."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, one_row_recipe
from held import STANDIN
from slow_run import recipe_word, standin_variables

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.files import write_json
from hala_hpc.failure_class import Failure, as_json
from hala_hpc.failure_policy import BLAMELESS_ROUNDS, Decision, adjusted_spec, decide
from hala_hpc.failure_sizes import smaller_sizes
from hala_hpc.gate import close
from hala_hpc.round_begin import begin_round
from hala_hpc.round_end import blameless_rounds, idle_rounds
from hala_hpc.stages.evaluate import Evaluate
from hala_hpc.stages.merge import Merge
from hala_hpc.stages.sft import Sft
from hala_hpc.stages.translate import Translate
from hala_hpc.submit import next_spec

RESOURCES: dict[str, Any] = {
    "nodes": 1,
    "ranks_per_node": 1,
    "mem_gb": 100,
    "mem_limit_gb": None,
    "timeout_min": 60,
    "options": {"partition": "gpu"},
}


def make_spec(**resources: Any) -> dict[str, Any]:
    return {
        "launcher": {"backend": "slurm"},
        "settings": {"engine": {"max_num_seqs": None}},
        "resources": RESOURCES | resources,
        "idle_rounds": 0,
    }


def node(folder: Path, stage: str = "translate") -> Artifact:
    """A node of one unit that was never begun."""
    artifact = Artifact(folder / "node-12345678")
    config = {"node": "node", "stage": stage, "fingerprint": "12345678", "units": 1, "inputs": {}}
    write_json(artifact.config_file, config)
    return artifact


def fails(artifact: Artifact, spec: dict[str, Any], *failures: Failure, **more: Any) -> Decision:
    """The decision after a round with this spec that ended with these failures."""
    number = begin_round(artifact, 1, 1, spec)
    told = {"failures": as_json(failures), "scheduler": [], "memory_limit_gb": None}
    write_json(artifact.failures_file(number), told | more)
    return decide(artifact, spec)


def at(kind: str, node: str = "node1", attempt: str = "a", signature: str = "") -> Failure:
    return Failure(kind, f"why it was {kind}", attempt, 0, (node,), signature)


def test_bad_nodes_join_those_that_were_excluded_before(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    spec = make_spec(options={"partition": "gpu", "exclude": "node[7-9]"})
    decision = fails(artifact, spec, at("node", "node3"), at("node", "node3", "b"), at("preempted"))
    assert decision.code == 0
    assert decision.is_blameless
    assert decision.spec["resources"]["options"]["exclude"] == "node[7-9],node3"
    assert decision.spec["because"] == ["node3 is excluded: why it was node"]
    assert adjusted_spec(artifact, spec) == decision.spec
    again = fails(artifact, decision.spec, at("node", "node4"))
    assert again.spec["resources"]["options"]["exclude"] == "node[7-9],node3,node4"
    assert again.spec["because"] == ["node4 is excluded: why it was node"]


def test_nodes_that_were_asked_for_by_name_are_not_left_out(tmp_path: Path) -> None:
    decision = fails(node(tmp_path), make_spec(options={"nodelist": "node1"}), at("node"))
    assert decision.code == 69
    assert "options.nodelist=node1" in decision.reasons[0]


def test_too_many_bad_nodes_are_another_trouble(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for number in range(8):
        decision = fails(artifact, spec, at("node", f"node{number}"))
        assert decision.code == 0
        spec = decision.spec
    decision = fails(artifact, spec, at("node", "node8"))
    assert decision.code == 69
    assert "9 nodes failed (node0, node1," in decision.reasons[0]


def test_a_node_where_engines_die_twice_is_excluded(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    first = fails(artifact, make_spec(), at("engine", "node2", "a"), at("engine", "node3", "b"))
    assert first.spec["because"] == []
    second = fails(artifact, first.spec, at("engine", "node2", "c"))
    assert second.spec["resources"]["options"]["exclude"] == "node2"
    assert "the engine ended 2 times there" in second.spec["because"][0]


@pytest.mark.parametrize(
    ("own", "site", "expected"), [(None, None, 150), (120, None, 120), (None, 128, 128)]
)
def test_memory_grows_by_half_up_to_its_limit(
    own: int | None, site: int | None, expected: int, tmp_path: Path
) -> None:
    artifact, spec = node(tmp_path), make_spec(mem_limit_gb=own)
    decision = fails(artifact, spec, at("host_memory"), memory_limit_gb=site)
    assert decision.spec["resources"]["mem_gb"] == expected
    told = f"mem_gb is {expected} instead of 100: why it was host_memory"
    assert decision.spec["because"] == [told]
    if expected < 150:
        last = fails(artifact, decision.spec, at("host_memory"), memory_limit_gb=site)
        assert last.code == 78
        assert f"{expected} is the most" in last.reasons[0]


def test_memory_that_grows_is_no_idleness(tmp_path: Path) -> None:
    artifact, spec, expected = node(tmp_path), make_spec(), 100
    for _ in range(5):
        fails(artifact, spec, at("host_memory"), memory_limit_gb=10_000)
        expected = math.ceil(1.5 * expected)
        spec = next_spec(artifact, spec)
        assert (spec["resources"]["mem_gb"], spec["idle_rounds"]) == (expected, 0)


def test_rows_at_once_are_halved_down_to_one(tmp_path: Path) -> None:
    artifact, spec, seen = node(tmp_path), make_spec(), []
    for _ in range(8):
        decision = fails(artifact, spec, at("gpu_memory"))
        assert decision.code == 0
        spec = decision.spec
        seen.append(spec["settings"]["engine"]["max_num_seqs"])
    assert seen == [128, 64, 32, 16, 8, 4, 2, 1]
    assert "engine.max_num_seqs is 1 instead of 2: out of the GPU's memory" in spec["because"][0]
    decision = fails(artifact, spec, at("gpu_memory"))
    assert (decision.code, "single row" in decision.reasons[0]) == (78, True)


def test_only_settings_that_leave_the_result_as_it_is_are_made_smaller() -> None:
    training = {"micro_batch_size": 8, "global_batch_size": 8}
    (size,) = smaller_sizes(Sft.Settings, training, ranks=2) or []
    assert size.put_into(training)["micro_batch_size"] == 2, "4 rows were at once on each rank"
    assert smaller_sizes(Sft.Settings, {**training, "micro_batch_size": 1}, 2) == []
    both = smaller_sizes(Evaluate.Settings, {"engine": {}, "batch_size": 16}, 1) or []
    assert [(size.path[-1], size.after) for size in both] == [
        ("max_num_seqs", 128),
        ("batch_size", 8),
    ]
    assert smaller_sizes(Merge.Settings, {}, 1) is None
    assert not Translate.Settings.is_runtime("segment_tokens")


def test_preemptions_without_progress_are_not_idle_but_have_a_bound(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for count in range(1, BLAMELESS_ROUNDS + 1):
        fails(artifact, spec, at("preempted"))
        assert (idle_rounds(artifact), blameless_rounds(artifact)) == (0, count)
        spec = next_spec(artifact, spec)
    artifact.kept_folder(0).mkdir(parents=True)
    (artifact.kept_folder(0) / "piece").touch()
    assert blameless_rounds(artifact) == 0, "progress makes all of them good"
    (artifact.kept_folder(0) / "piece").unlink()
    record = {"worker": 0, "rank": 0, "code": 75, "reasons": ["stopped by SIGTERM"], "seconds": 9}
    attempt = f"r{artifact.last_round():04d}-w00000-7_0-0"
    write_json(artifact.attempt_file(attempt), {**record, "stopped": True, "node": "node1"})
    verdict = close(artifact)
    assert (verdict.state, verdict.code) == ("failed", 75)
    assert verdict.reasons[0].startswith(
        f"{BLAMELESS_ROUNDS} rounds of jobs were preempted or lost"
    )


def test_time_that_runs_out_without_progress_is_idle(tmp_path: Path) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for count in (1, 2):
        fails(artifact, spec, at("walltime"))
        assert idle_rounds(artifact) == count
        spec = next_spec(artifact, spec)


def test_a_job_that_somebody_cancelled_is_not_tried_again(tmp_path: Path) -> None:
    decision = fails(node(tmp_path), make_spec(), at("preempted"), at("cancelled"))
    assert decision.code == 75
    assert decision.reasons[0].endswith("the same line goes on")


def test_the_same_traceback_stops_across_rounds_and_ranks_of_an_attempt_are_one(
    tmp_path: Path,
) -> None:
    artifact, spec = node(tmp_path), make_spec()
    for attempt in ("a", "b"):
        ranks = [Failure("bug", str(rank), attempt, 0, (), "same") for rank in range(4)]
        decision = fails(artifact, spec, *ranks, at("bug", "node1", attempt, "another"))
        assert decision.code == 0
        spec = decision.spec
    decision = fails(artifact, spec, at("bug", "node1", "c", "same"))
    assert decision.code == 70
    assert decision.reasons[0].startswith("3 attempts ended with the same traceback, same: ")
    fresh = make_spec()
    assert fails(artifact, fresh, at("bug", "node1", "d", "same")).code == 0, "a person asked again"


@pytest.mark.slow
def test_a_translation_without_room_on_the_gpu_goes_on_with_fewer_rows(
    tmp_path: Path, work: Path
) -> None:
    variables: dict[str, Any] = standin_variables()
    line = ["stage=arabic", recipe_word(tmp_path, 40), f"work={work}"]
    told = launch(*line, "arabic.engine.max_num_seqs=32", HALA_FAULT="gpu_memory=8", **variables)
    assert told.code == 0, told
    assert "engine.max_num_seqs is 16 instead of 32" in told.err
    summary = json.loads((work / "latest/arabic/summary.json").read_text())
    assert [text.partition(":")[0] for text in summary["because"]] == [
        "engine.max_num_seqs is 16 instead of 32",
        "engine.max_num_seqs is 8 instead of 16",
    ]
    assert summary["rows_out"] == 40


def test_a_defect_on_this_machine_ends_after_two_idle_rounds(tmp_path: Path, work: Path) -> None:
    line = ["stage=all", one_row_recipe(tmp_path), f"work={work}"]
    told = launch(*line, HALA_FAULT="defect", PYTHONPATH=str(STANDIN))
    assert told.code == 70
    assert "2 rounds of jobs ended without progress" in told.err
    assert "ZeroDivisionError" in told.err

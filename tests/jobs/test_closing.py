"""Decisions of a gate, by state, code and class, from the files of a node."""

from pathlib import Path
from typing import Any

import pytest
from message_checks import assert_message

from hala_hpc.commands.monitoring.node_reasons import NodeReasonKind, explain_failure
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import RETRY, FailureClass, InputNotFinished
from hala_hpc.core.job_records import AttemptRecord, FailureReport
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import InputFacts, NodeConfig, NodeSummary, RoundSpec, UnitMarker
from hala_hpc.core.resources import Resources
from hala_hpc.gate import close_or_submit
from hala_hpc.jobs.attempt import JobInputs
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.closing import finish_node
from hala_hpc.jobs.failures.classify import failure_facts
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.submission import next_spec

pytestmark = pytest.mark.kinds

SPEC = RoundSpec(
    launcher=Launcher(name="test", backend="local"),
    env="main",
    commit="",
    settings={"units": 1},
    resources=Resources(),
)


def node(work: Path, inputs: dict[str, InputFacts] | None = None) -> Artifact:
    """A node of one unit whose first round has started."""
    artifact = Artifact(work / "node-12345678")
    config = NodeConfig(node="node", stage="sample", units=1, inputs=inputs or {})
    artifact.write_config(config)
    begin_round(artifact, 1, 1, SPEC)
    return artifact


def ends(artifact: Artifact, **record: Any) -> None:
    """Write the record of the only attempt of the last round."""
    name = AttemptName(artifact.last_round(), 0, "7", 0)
    AttemptRecord(worker=0, **record).write(artifact.attempt_file(str(name)))


def kinds(report: FailureReport | None) -> list[FailureClass | None]:
    assert report is not None
    return [reason.kind for reason in report.reasons]


def test_a_node_whose_input_failed_is_secondary(tmp_path: Path) -> None:
    facts = InputFacts(kind="corpus", fingerprint="0", artifact="first-00000000")
    artifact = node(tmp_path, {"first": facts})
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("failed", 66)
    assert kinds(artifact.failure()) == [FailureClass.SECONDARY]
    assert explain_failure(artifact).kind is NodeReasonKind.INPUT_FAILED


@pytest.mark.parametrize(
    ("code", "kind"), [(65, FailureClass.BAD_DATA), (78, FailureClass.CONFIG_ERROR)]
)
def test_what_another_attempt_cannot_fix_ends_the_node_at_once(
    code: int, kind: FailureClass, tmp_path: Path
) -> None:
    artifact = node(tmp_path)
    ends(artifact, code=code, reasons=["one reason", "another"])
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("failed", code)
    assert kinds(artifact.failure()) == [kind, kind]
    assert explain_failure(artifact).kind is NodeReasonKind.FAILED


def test_a_round_without_progress_is_tried_again_and_a_second_ends_the_node(
    tmp_path: Path,
) -> None:
    artifact = node(tmp_path)
    ends(artifact, code=70, reasons=["RuntimeError: no"], signature="x")
    log = artifact.log_file(0)
    log.parent.mkdir(parents=True)
    log.write_text("--- 2026-11-30 10:00:00 r0002-w00000-7-0 on node\nTraceback\nlast words\n")
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("again", 75)
    begin_round(artifact, 1, 1, next_spec(artifact, SPEC))
    ends(artifact, code=70, reasons=["RuntimeError: no"], signature="x")
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("failed", 70)
    report = artifact.failure()
    assert kinds(report) == [None, FailureClass.EXCEPTION]
    assert report is not None
    assert report.reasons[1].text == "RuntimeError: no"
    assert report.reasons[1].log_tail[1:] == ("  Traceback", "  last words")
    assert_message(report.reasons[1].log_tail[0], f"the end of {log}:")
    assert_message(report.reasons[0].text, "2 rounds of jobs ended without progress")
    assert "last words" not in explain_failure(artifact).text


def test_workers_that_left_nothing_are_without_a_report(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    assert finish_node(artifact).state == "again"
    begin_round(artifact, 1, 1, next_spec(artifact, SPEC))
    assert finish_node(artifact).state == "failed"
    assert kinds(artifact.failure()) == [None, FailureClass.NO_REPORT]


def test_a_time_limit_that_is_too_short_is_called_so_with_what_loading_took(
    tmp_path: Path,
) -> None:
    artifact = Artifact(tmp_path / "node-12345678")
    artifact.write_config(NodeConfig(node="node", stage="sample", units=1))
    spec = SPEC.model_copy(
        update={
            "launcher": Launcher(name="test", backend="slurm"),
            "resources": Resources(timeout_min=1),
        }
    )
    record = {"code": 75, "reasons": ["stopped by SIGUSR2"], "stopped": True, "seconds": 41.0}
    begin_round(artifact, 1, 1, spec)
    ends(artifact, **record, loading_s=35.2)
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("again", 75)
    assert [reason.kind for reason in verdict.reasons] == [FailureClass.TIMEOUT]
    assert_message(
        verdict.lines[0], "timeout_min=1", "15 s before", "ran 41 s", "loading took 35 s"
    )
    begin_round(artifact, 1, 1, next_spec(artifact, spec))
    ends(artifact, **record)
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("failed", 78)
    assert kinds(artifact.failure()) == [FailureClass.TIMEOUT]
    assert_message(verdict.lines[0], "timeout_min=1 is too short", "[node.node.resources]")
    assert_message(verdict.lines[0], "no row or step was done")


def test_a_round_that_began_before_its_input_was_finished_is_made_again_and_does_not_count(
    tmp_path: Path,
) -> None:
    facts = InputFacts(kind="corpus", fingerprint="0", artifact="first-00000000")
    first = Artifact(tmp_path / "first-00000000")
    artifact = Artifact(tmp_path / "node-12345678")
    config = NodeConfig(node="node", stage="report", units=1, inputs={"first": facts})
    artifact.write_config(config)
    spec = SPEC.model_copy(update={"launcher": Launcher(name="test", backend="slurm")})
    begin_round(artifact, 1, 1, spec)
    with pytest.raises(InputNotFinished) as early:
        JobInputs(config, tmp_path).path("@first")
    facts_of_it = failure_facts(early.value).model_dump()
    ends(artifact, code=early.value.code, reasons=early.value.mistakes, **facts_of_it)
    # It was finished when the gate checked.
    first.write_summary(NodeSummary(node="first", stage="prepare", fingerprint="00000000", units=1))
    verdict = finish_node(artifact)
    assert (verdict.state, verdict.code) == ("again", RETRY)
    assert next_spec(artifact, spec).rounds_without_progress == 0


def test_a_round_that_made_progress_does_not_count_as_idle(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "node-12345678")
    artifact.write_config(NodeConfig(node="node", stage="sample", units=3))
    spec = SPEC
    for unit in range(2):
        begin_round(artifact, 3, 1, spec)
        ends(artifact, code=75, reasons=["killed"])
        artifact.write_marker(UnitMarker(unit=unit))
        verdict = finish_node(artifact)
        assert (verdict.state, verdict.code) == ("again", 75)
        spec = next_spec(artifact, spec)
        assert spec.rounds_without_progress == 0


def test_a_failure_of_an_older_version_is_read_with_its_log_apart(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    artifact.failure_file.write_text(
        '{"code": 70, "reasons": ["2 rounds", "RuntimeError: no", "the end of /x:", "  line"], '
        '"time": 1.0}'
    )
    report = artifact.failure()
    assert report is not None
    assert [reason.text for reason in report.reasons] == ["2 rounds", "RuntimeError: no"]
    assert report.reasons[1].log_tail == ("the end of /x:", "  line")
    assert explain_failure(artifact).text == "2 rounds; RuntimeError: no"


def test_a_gate_by_hand_leaves_the_rest_to_the_launch_of_this_machine(tmp_path: Path) -> None:
    artifact = node(tmp_path)
    ends(artifact, code=75, reasons=("stopped by SIGTERM",), stopped=True)
    # Otherwise it would wait ten minutes for a missing scheduler.
    assert close_or_submit(artifact, None) == RETRY
    assert artifact.failure() is None
    assert artifact.last_round() == 1

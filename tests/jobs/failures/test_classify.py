"""The class of a failure: a table of evidence, and the records of real code."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from message_checks import assert_message

from hala_hpc.backends.slurm.parsing import expand_hosts
from hala_hpc.backends.slurm.sacct import JobEnd
from hala_hpc.core.errors import (
    BadNode,
    EngineDied,
    EngineHung,
    FailureClass,
    LeaseLost,
    RankHung,
    RankLost,
    StopRequested,
    TransientError,
)
from hala_hpc.core.foreign_stages import load_file
from hala_hpc.core.job_records import Failure
from hala_hpc.engines.generation.engine_choice import load_engine_class
from hala_hpc.jobs.failures.classify import Evidence, classify, failure_facts, signature_of

pytestmark = pytest.mark.kinds

LIMIT_S = 3600.0
STOPPED = Evidence(
    attempt="r0001-w00000-7_0-0",
    worker=0,
    nodes=("node1",),
    code=75,
    reasons=("stopped by SIGTERM",),
    is_stopped=True,
    seconds=100,
    time_limit_s=LIMIT_S,
)
ENDED = replace(STOPPED, code=70, reasons=("RuntimeError: no",), is_stopped=False, signature="x")
SILENT = replace(STOPPED, code=None, reasons=(), is_stopped=False, seconds=0)
KILLED = replace(SILENT, code=75, reasons=("killed by SIGKILL",))


def with_scheduler(evidence: Evidence, kind: FailureClass | JobEnd, message: str) -> Evidence:
    """The evidence with the state reported by SLURM."""
    return replace(evidence, scheduler_kind=kind, scheduler_message=message)


def carried(evidence: Evidence, error: BaseException) -> Evidence:
    """The evidence with the failure facts of an exception."""
    facts = failure_facts(error)
    nodes = facts.nodes or evidence.nodes
    return replace(evidence, reasons=(str(error),), kind=facts.kind, nodes=nodes)


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (STOPPED, FailureClass.PREEMPTED),
        (
            with_scheduler(STOPPED, FailureClass.PREEMPTED, "PREEMPTED on node1"),
            FailureClass.PREEMPTED,
        ),
        (with_scheduler(STOPPED, JobEnd.FAILED, "FAILED 75:0 on node1"), FailureClass.PREEMPTED),
        (with_scheduler(STOPPED, FailureClass.TIMEOUT, "TIMEOUT on node1"), FailureClass.TIMEOUT),
        (replace(STOPPED, seconds=LIMIT_S - 200), FailureClass.TIMEOUT),
        (replace(STOPPED, seconds=LIMIT_S - 330, warning_s=300), FailureClass.TIMEOUT),
        (replace(STOPPED, seconds=LIMIT_S - 330), FailureClass.PREEMPTED),
        (
            with_scheduler(STOPPED, FailureClass.CANCELLED, "CANCELLED by 1000 on node1"),
            FailureClass.CANCELLED,
        ),
        (
            with_scheduler(STOPPED, FailureClass.NODE_FAILURE, "NODE_FAIL on node1"),
            FailureClass.NODE_FAILURE,
        ),
        (
            with_scheduler(SILENT, FailureClass.NODE_FAILURE, "NODE_FAIL on node1"),
            FailureClass.NODE_FAILURE,
        ),
        (
            with_scheduler(SILENT, FailureClass.PREEMPTED, "PREEMPTED on node1"),
            FailureClass.PREEMPTED,
        ),
        (with_scheduler(SILENT, FailureClass.TIMEOUT, "TIMEOUT on node1"), FailureClass.TIMEOUT),
        (
            with_scheduler(SILENT, FailureClass.HOST_OOM, "OUT_OF_MEMORY 0:125 on node1"),
            FailureClass.HOST_OOM,
        ),
        (with_scheduler(SILENT, JobEnd.FAILED, "FAILED 0:9 on node1"), FailureClass.KILLED),
        (
            replace(
                with_scheduler(SILENT, JobEnd.FAILED, "FAILED 1:0 on node1"),
                ended_before_us=True,
                reasons=("no module cuda/13.0",),
            ),
            FailureClass.CONFIG_ERROR,
        ),
        (
            with_scheduler(SILENT, JobEnd.DEPENDENCY, "CANCELLED before it began"),
            FailureClass.KILLED,
        ),
        (SILENT, FailureClass.NO_REPORT),
        (KILLED, FailureClass.KILLED),
        (replace(KILLED, is_kernel_kill=True), FailureClass.HOST_OOM),
        (replace(ENDED, is_kernel_kill=True), FailureClass.HOST_OOM),
        (ENDED, FailureClass.EXCEPTION),
        (replace(ENDED, kind=FailureClass.GPU_OOM), FailureClass.GPU_OOM),
        (
            replace(ENDED, log_tail="torch.OutOfMemoryError: CUDA out of memory."),
            FailureClass.GPU_OOM,
        ),
        (
            replace(ENDED, log_tail="CUDA error: uncorrectable ECC error encountered"),
            FailureClass.NODE_FAILURE,
        ),
        (
            replace(ENDED, log_tail="RuntimeError: Failed to find C compiler. Please specify"),
            FailureClass.CONFIG_ERROR,
        ),
        (
            replace(
                carried(KILLED, EngineDied("no word")),
                log_tail="RuntimeError: The NVIDIA driver on your system is too old (found",
            ),
            FailureClass.CONFIG_ERROR,
        ),
        (carried(KILLED, EngineDied("no word")), FailureClass.ENGINE),
        (carried(KILLED, EngineHung("no word")), FailureClass.ENGINE),
        (replace(carried(STOPPED, EngineDied("no word"))), FailureClass.PREEMPTED),
        (
            replace(carried(KILLED, EngineDied("no word")), log_tail="HIP out of memory"),
            FailureClass.GPU_OOM,
        ),
        (
            with_scheduler(
                carried(KILLED, EngineDied("no word")), FailureClass.HOST_OOM, "OUT_OF_MEMORY"
            ),
            FailureClass.HOST_OOM,
        ),
        (replace(ENDED, code=65, reasons=("9 rows cannot be read",)), FailureClass.BAD_DATA),
        (replace(ENDED, code=78, reasons=("no such GPU",)), FailureClass.CONFIG_ERROR),
        (carried(KILLED, LeaseLost("no word")), FailureClass.SECONDARY),
        (carried(KILLED, RankLost("no word")), FailureClass.SECONDARY),
        (carried(KILLED, StopRequested("no word")), FailureClass.SECONDARY),
        (carried(KILLED, BadNode("no word", nodes=["node2"])), FailureClass.NODE_FAILURE),
        (carried(KILLED, TransientError("the engine hangs: no step ended")), FailureClass.KILLED),
    ],
)
def test_each_end_has_its_class(evidence: Evidence, kind: FailureClass) -> None:
    failure = classify(evidence)
    assert failure is not None
    assert failure.kind is kind
    assert failure.text
    assert failure.signature == ("x" if kind is FailureClass.EXCEPTION else "")
    assert Failure.from_json(failure.to_json(), "test") == failure


def test_a_success_is_no_failure() -> None:
    assert classify(replace(STOPPED, code=0)) is None
    assert classify(with_scheduler(SILENT, JobEnd.COMPLETED, "COMPLETED on node1")) is None


def test_a_rank_that_is_behind_is_named_with_its_node() -> None:
    failure = classify(carried(KILLED, RankHung("no step ended", nodes=["node9"])))
    assert failure == Failure(
        kind=FailureClass.ENGINE,
        text="no step ended",
        attempt=KILLED.attempt,
        worker=0,
        nodes=("node9",),
    )


@pytest.mark.parametrize(
    ("former", "kind"),
    [
        ("walltime", FailureClass.TIMEOUT),
        ("node", FailureClass.NODE_FAILURE),
        ("host_memory", FailureClass.HOST_OOM),
        ("gpu_memory", FailureClass.GPU_OOM),
        ("data", FailureClass.BAD_DATA),
        ("bug", FailureClass.EXCEPTION),
        ("set_up", FailureClass.CONFIG_ERROR),
        ("lost", FailureClass.NO_REPORT),
        ("follows", FailureClass.SECONDARY),
        ("engine", FailureClass.ENGINE),
    ],
)
def test_the_classes_of_older_records_are_read(former: str, kind: FailureClass) -> None:
    found = Failure.from_json(json.dumps({"kind": former, "text": "x"}), "test")
    assert found.kind is kind


def test_the_watchdog_of_engines_gives_the_class_of_what_it_finds() -> None:
    code = """
import sys, types
from hala_hpc.core.errors import TransientError
from hala_hpc.engines.generation.watchdog import EngineWatch
from hala_hpc.jobs.failures.classify import failure_facts
class EngineDeadError(Exception): pass
sys.modules["vllm.v1.engine.exceptions"] = types.SimpleNamespace(EngineDeadError=EngineDeadError)
class Dead:
    name, exitcode = "EngineCore_DP0", -9
    def is_alive(self): return False
for engines in ([], [Dead()]):
    try:
        with EngineWatch(60, print) as watch:
            watch.engines = engines
            raise EngineDeadError("EngineCore encountered an issue")
    except TransientError as error:
        print(failure_facts(error).kind)
watch = EngineWatch(1, print)
watch.in_flight, watch.idle_s = 3, 9
print(failure_facts(watch.failure()).kind)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["engine"] * 3


def test_a_traceback_is_recognized_whatever_its_values() -> None:
    found = set()
    for text in ("3", "4"):
        try:
            Failure.model_validate({"kind": text})
        except ValueError as error:
            found.add(signature_of(error))
        try:
            classify(text)  # type: ignore[arg-type]
        except AttributeError as error:
            found.add(signature_of(error))
    assert len(found) == 2
    assert "ValidationError" in found
    start = "AttributeError in hala_hpc/jobs/failures/classify.py, line "
    (own,) = found - {"ValidationError"}
    assert_message(own, start)
    assert "hala_hpc/jobs/failures/classify.py" in own


#: A lab's stage and engine: each fails in code of this package, called from its own code.
OWN_STAGE = """
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage
from hala_hpc.jobs.failures.classify import classify


class Own(Stage[StageSettings]):
    name, produces, Settings = "own", "corpus", StageSettings

    @staticmethod
    def first():
        return classify("no evidence")

    @staticmethod
    def second():
        return classify("no evidence")


STAGE = Own
"""
OWN_ENGINE = """
from own_lab.inner import start
class Engine:
    def __init__(self, config):
        start()
"""


def raised_by(run: Callable[[], object]) -> str:
    """The signature of the exception that a call raises."""
    with pytest.raises(AttributeError) as caught:
        run()
    return signature_of(caught.value)


def test_of_a_stage_of_a_labs_own_the_last_frame_of_theirs_counts(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN_STAGE)
    path.chmod(0o644)
    stage: Any = load_file(path, ())[0]
    found = [raised_by(stage.first), raised_by(stage.second), raised_by(stage.second)]
    assert found[0] != found[1] == found[2]
    for signature, line in zip(found, ("line 12, first", "line 16, second"), strict=False):
        assert "own.py" in signature
        assert_message(signature, line)


def test_of_an_engine_of_a_labs_own_the_last_frame_of_theirs_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text(OWN_ENGINE)
    (package / "inner.py").write_text("def start():\n    None.begin()\n")
    monkeypatch.syspath_prepend(tmp_path)
    engine: Any = load_engine_class("own_lab.engine:Engine")
    signature = raised_by(lambda: engine(None))
    assert "own_lab/inner.py" in signature
    assert_message(signature, "line 2, start")


def test_lists_of_nodes_are_read_to_names() -> None:
    assert expand_hosts("gpu[01-03,7],login1") == ("gpu01", "gpu02", "gpu03", "gpu7", "login1")
    assert expand_hosts("n[9-11]-ib") == ("n9-ib", "n10-ib", "n11-ib")
    assert expand_hosts("rack[0-1]node[1-2],x") == (
        "rack0node1",
        "rack0node2",
        "rack1node1",
        "rack1node2",
        "x",
    )
    assert expand_hosts("None assigned") == ()
    assert expand_hosts("") == ()

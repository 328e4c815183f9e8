"""What kind of failure it was: the table of evidence, and the words that real code leaves."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.common.waiting import WAIT_S
from hala_hpc.backends.slurm_ends import hosts
from hala_hpc.engines.watchdog import EngineWatch
from hala_hpc.failure_class import Evidence, Failure, as_json, classify, from_json
from hala_hpc.failure_told import signature_of

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


def told(evidence: Evidence, kind: str, words: str) -> Evidence:
    """The same with a word of the scheduler."""
    return replace(evidence, scheduler_kind=kind, scheduler_words=words)


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (STOPPED, "preempted"),
        (told(STOPPED, "preempted", "PREEMPTED on node1"), "preempted"),
        (told(STOPPED, "failed", "FAILED 75:0 on node1"), "preempted"),
        (told(STOPPED, "walltime", "TIMEOUT on node1"), "walltime"),
        (replace(STOPPED, seconds=LIMIT_S - 200), "walltime"),
        (told(STOPPED, "cancelled", "CANCELLED by 1000 on node1"), "cancelled"),
        (told(STOPPED, "node", "NODE_FAIL on node1"), "node"),
        (told(SILENT, "node", "NODE_FAIL on node1"), "node"),
        (told(SILENT, "preempted", "PREEMPTED on node1"), "preempted"),
        (told(SILENT, "walltime", "TIMEOUT on node1"), "walltime"),
        (told(SILENT, "host_memory", "OUT_OF_MEMORY 0:125 on node1"), "host_memory"),
        (told(SILENT, "failed", "FAILED 0:9 on node1"), "killed"),
        (told(SILENT, "dependency", "CANCELLED before it began"), "killed"),
        (SILENT, "lost"),
        (KILLED, "killed"),
        (replace(KILLED, is_kernel_kill=True), "host_memory"),
        (replace(ENDED, is_kernel_kill=True), "host_memory"),
        (ENDED, "bug"),
        (replace(ENDED, told="gpu_memory"), "gpu_memory"),
        (replace(ENDED, log_tail="torch.OutOfMemoryError: CUDA out of memory."), "gpu_memory"),
        (replace(ENDED, log_tail="CUDA error: uncorrectable ECC error encountered"), "node"),
        (replace(ENDED, reasons=("the engine failed: dead",)), "engine"),
        (replace(KILLED, reasons=("the engine's process EngineCore_DP0 was killed",)), "engine"),
        (replace(KILLED, reasons=("the engine hangs: no step ended in 120 s",)), "engine"),
        (
            replace(
                KILLED, reasons=("the engine's process x ended",), log_tail="HIP out of memory"
            ),
            "gpu_memory",
        ),
        (replace(ENDED, code=65, reasons=("9 rows cannot be read",)), "data"),
        (replace(ENDED, code=78, reasons=("no such GPU",)), "set_up"),
        (replace(KILLED, reasons=("the lease of worker 0 went to r0001",)), "follows"),
        (replace(KILLED, reasons=("another rank is gone: gloo",)), "follows"),
    ],
)
def test_each_end_is_told_from_the_others(evidence: Evidence, kind: str) -> None:
    failure = classify(evidence)
    assert failure is not None
    assert failure.kind == kind
    assert failure.text
    assert failure.signature == ("x" if kind == "bug" else "")
    assert from_json(json.loads(json.dumps(as_json([failure])))) == [failure]


def test_what_went_well_is_no_failure() -> None:
    assert classify(replace(STOPPED, code=0)) is None
    assert classify(told(SILENT, "completed", "COMPLETED on node1")) is None


def test_a_rank_that_is_behind_is_named_with_its_node() -> None:
    words = "no step ended in 1800 s after step 7; rank 3 on node9 is silent for 90 s (computing)"
    failure = classify(replace(KILLED, reasons=(words,)))
    assert failure == Failure("engine", words, KILLED.attempt, 0, ("node9",))


def test_the_watchdog_of_engines_uses_the_words_that_are_looked_for() -> None:
    code = """
import sys, types
from hala_hpc.core.errors import Retry
from hala_hpc.engines.watchdog import EngineWatch
from hala_hpc.failure_told import signature_of
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
    except Retry as error:
        print(error)
watch = EngineWatch(1, print)
watch.in_flight, watch.idle_s = 3, 9
print(watch.hang())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    for line in lines:
        failure = classify(replace(KILLED, reasons=(line,)))
        assert failure is not None
        assert failure.kind == "engine", line


def test_a_traceback_is_known_again_whatever_its_values() -> None:
    found = set()
    for text in ("3", "4"):
        try:
            Failure(**json.loads("{}"), kind=text)  # type: ignore[call-arg]
        except TypeError as error:
            found.add(signature_of(error))
        try:
            EngineWatch(1, print).__exit__(None, None, None)
            from_json([{"kind": text}])
        except KeyError as error:
            found.add(signature_of(error))
    assert len(found) == 2
    assert "TypeError" in found
    assert any(s.startswith("KeyError in hala_hpc/failure_class.py, line ") for s in found)


def test_lists_of_nodes_are_read_to_names() -> None:
    assert hosts("gpu[01-03,7],login1") == ("gpu01", "gpu02", "gpu03", "gpu7", "login1")
    assert hosts("n[9-11]-ib") == ("n9-ib", "n10-ib", "n11-ib")
    assert hosts("None assigned") == ()
    assert hosts("") == ()

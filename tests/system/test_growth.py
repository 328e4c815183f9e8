"""No step of ours is quadratic in units, attempts or rounds: calls are counted, not seconds.

A step is done with 2, 20 and 200 of what grows. Where its cost is a constant and a share for each,
the second difference is ten times the first; where it is quadratic, a hundred times.
"""

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import pytest
from wide_nodes import WideNode, wide_node

from hala_hpc import launch, logs, retry, status, verify
from hala_hpc.core.claims import Claims
from hala_hpc.jobs.closing import finish_node
from hala_hpc.jobs.failures.evidence import record_failures
from hala_hpc.jobs.rounds import begin_round

SIZES = (2, 20, 200)
#: How much the second difference may be of the first: ten, and half of it for what is sorted.
BOUND = 15.0


def given(main: Callable[[Sequence[str]], int], *arguments: str) -> Callable[[WideNode], object]:
    """A command on the run of a node."""
    return lambda node: main([f"work={node.work}", *arguments])


def plan(node: WideNode) -> object:
    return launch.launch([*node.overrides, "dry_run=true"])


def plan_of_a_damaged_node(node: WideNode) -> object:
    """Its markers and files are looked at one by one."""
    [part] = node.artifact.output.glob("part-00000.parquet")
    part.unlink()
    return plan(node)


def begin(node: WideNode) -> object:
    for path in node.artifact.marker_file(0).parent.iterdir():
        path.unlink()
    config, last = node.artifact.require_config(), node.artifact.require_newest_round()
    return begin_round(node.artifact, config.units, config.units, last.spec)


def steal_all(node: WideNode) -> object:
    """A worker that makes all units of another that never came."""
    for path in node.artifact.marker_file(0).parent.iterdir():
        path.unlink()
    units = range(node.artifact.require_config().units)
    return list(Claims(node.artifact, 1, (tuple(units), ()), lambda: None))


def decide(node: WideNode) -> object:
    """What a gate does where a unit is missing."""
    node.artifact.marker_file(0).unlink()
    return finish_node(node.artifact)


OF_UNITS: dict[str, Callable[[WideNode], object]] = {
    "plan": plan,
    "status": given(status.status),
    "begin a round": begin,
    "take units of another worker": steal_all,
    "close": lambda node: finish_node(node.artifact),
    "plan of a finished node": plan,
    "status of a finished node": given(status.status),
    "verify": given(verify.verify_run),
    "plan of a damaged node": plan_of_a_damaged_node,
}
#: What is done before a step, and not counted.
BEFORE: dict[str, Callable[[WideNode], object]] = dict.fromkeys(
    ("plan of a finished node", "status of a finished node", "verify", "plan of a damaged node"),
    lambda node: finish_node(node.artifact),
)
OF_HISTORY: dict[str, Callable[[WideNode], object]] = {
    "status": given(status.status),
    "logs": given(logs.logs),
    "retry": given(retry.retry, "dry_run=true"),
    "note failures": lambda node: record_failures(node.artifact),
    "decide": decide,
}


def calls_of(step: Callable[[], object]) -> int:
    """How many functions, of Python and of C, a step calls, in all threads."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with contextlib.redirect_stdout(io.StringIO()):
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            step()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    return count


def growth(nodes: Sequence[WideNode], name: str, step: Callable[[WideNode], object]) -> float:
    """How many times as much the larger difference costs as the smaller."""
    counts = []
    for number, node in enumerate(nodes):
        if name in BEFORE:
            BEFORE[name](node)
        if number:
            counts.append(calls_of(lambda node=node: step(node)))  # type: ignore[misc]
        else:
            # What is imported or built once counts for none of them.
            step(node)
    small, middle, large = counts
    return (large - middle) / max(1, middle - small)


@pytest.mark.parametrize("name", OF_UNITS)
def test_a_step_costs_ten_times_as_much_for_ten_times_the_units(tmp_path: Path, name: str) -> None:
    sizes = (SIZES[0], *SIZES)
    nodes = [wide_node(tmp_path / str(n), units=size) for n, size in enumerate(sizes)]
    assert growth(nodes, name, OF_UNITS[name]) < BOUND


@pytest.mark.parametrize("name", OF_HISTORY)
@pytest.mark.parametrize("what", ["rounds", "attempts"])
def test_a_step_costs_ten_times_as_much_for_ten_times_the_history(
    tmp_path: Path, name: str, what: str
) -> None:
    sizes = (SIZES[0], *SIZES)
    nodes = [wide_node(tmp_path / str(n), units=2, **{what: s}) for n, s in enumerate(sizes)]
    assert growth(nodes, name, OF_HISTORY[name]) < BOUND


def test_a_gate_reads_each_marker_once(tmp_path: Path) -> None:
    node = wide_node(tmp_path / "node", units=20)
    opened: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "read_content":
            opened.append(str(frame.f_locals["path"]))

    sys.setprofile(note)
    try:
        assert finish_node(node.artifact).state == "done"
    finally:
        sys.setprofile(None)
    markers = [path for path in opened if "/done/" in path]
    assert len(markers) == len(set(markers)) == 20

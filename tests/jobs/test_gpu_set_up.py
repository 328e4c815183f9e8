"""Requirements of a node with GPUs: real compilers, a real all-reduce, and driver versions."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hala_hpc.jobs.all_reduce import all_reduce_fault
from hala_hpc.jobs.gpu_set_up import Driver, compiler_fault, driver_fault, support_fault
from hala_hpc.jobs.node_faults import NodeFault, NodeFaultKind, NodeProbeResult

OLD = Driver(release="550.54.15", cuda=(12, 4))


def test_a_driver_that_is_older_than_the_build_is_reported_with_its_minimum() -> None:
    assert driver_fault(OLD, (13, 0)) == (
        "the driver 550.54.15 is for CUDA 12.4, too old for this torch, which was built with CUDA "
        "13.0 and needs R580 or newer"
    )
    assert "needs R525 or newer" in driver_fault(Driver("470.1", (11, 4)), (12, 8))


@pytest.mark.parametrize(
    ("cuda", "build"), [((12, 4), (12, 8)), ((13, 0), (13, 2)), ((13, 0), (12, 8))]
)
def test_a_driver_runs_every_build_of_its_major_version_and_older_ones(
    cuda: tuple[int, int], build: tuple[int, int]
) -> None:
    assert driver_fault(Driver("1", cuda), build) == ""


def test_an_unknown_driver_or_build_is_no_fault() -> None:
    assert driver_fault(None, (13, 0)) == driver_fault(OLD, None) == ""


def test_a_gpu_that_torch_has_no_code_for_is_reported() -> None:
    built_for = ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"]
    assert support_fault((7, 0), built_for).endswith("this GPU has compute capability 7.0")
    for capability in [(7, 5), (8, 6), (9, 0), (12, 1), (13, 0)]:
        assert support_fault(capability, built_for) == ""
    assert support_fault((10, 0), built_for)
    assert support_fault((7, 0), []) == "", "nothing is known"


def test_the_compiler_of_this_machine_compiles_for_this_python() -> None:
    assert compiler_fault() is None


def test_a_missing_compiler_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler_fault() == (
        NodeFaultKind.COMPILER,
        "no C compiler: neither CC is set nor gcc or clang on the PATH",
    )


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/opt/gcc/bin/gcc")
    assert compiler_fault() == (
        NodeFaultKind.COMPILER,
        "the C compiler /opt/gcc/bin/gcc does not work: No such file or directory",
    )


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_breaks_is_reported_with_its_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "echo 'cannot execute cc1: no such file' >&2; exit 1"
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    kind, result = compiler_fault() or ("", "")
    assert kind is NodeFaultKind.COMPILER
    assert result.endswith("does not work: cannot execute cc1: no such file")


def test_missing_headers_are_reported_with_their_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The real compiler, without the path of Python's headers.
    text = 'for word; do [[ $word == -I* ]] || words+=("$word"); done; exec gcc "${words[@]}"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    monkeypatch.delenv("CPATH", raising=False)
    kind, result = compiler_fault() or ("", "")
    assert kind is NodeFaultKind.HEADERS
    assert "finds no Python.h in /" in result
    assert "fatal error: Python.h" in result


def test_what_is_compiled_must_be_loadable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # As a temporary folder mounted noexec.
    text = 'while [[ $1 != -o ]]; do shift; done; echo text > "$2"'
    monkeypatch.setenv("CC", script(tmp_path / "cc", text))
    kind, result = compiler_fault() or ("", "")
    assert kind is NodeFaultKind.COMPILER
    assert "cannot be loaded" in result


@pytest.mark.slow
def test_processors_add_up_a_number_in_a_process_each() -> None:
    assert all_reduce_fault("gloo", ["cpu", "cpu"]) == ""


@pytest.mark.slow
def test_a_device_that_cannot_take_part_is_named() -> None:
    result = all_reduce_fault("gloo", ["cpu", "cuda:7"])
    assert result.startswith("no sum (gloo): cuda:7: "), result


def test_a_sum_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", script(tmp_path / "python", "exec sleep 600"))
    began = time.monotonic()
    result = all_reduce_fault("gloo", ["cpu:0", "cpu:1"], limit_s=1)
    assert result == "no sum after 1 s: cpu:0, cpu:1 still waiting"
    assert time.monotonic() - began < 60
    left = subprocess.run(["pgrep", "-fP", str(os.getpid()), "sleep 600"], check=False, timeout=60)
    assert left.returncode == 1, "somebody still sleeps"


def fault(kind: NodeFaultKind, node: str) -> NodeFault:
    return NodeFault(kind=kind, node=node, text="made up")


def test_a_fault_of_the_set_up_is_one_only_where_every_node_of_the_job_has_it() -> None:
    nodes = ("node1", "node2")
    all_old = tuple(fault(NodeFaultKind.OLD_DRIVER, node) for node in nodes)
    both = NodeProbeResult(
        nodes=nodes, faults=(*all_old, fault(NodeFaultKind.MEMORY_ERRORS, "node2"))
    )
    assert both.set_up_faults == all_old
    assert both.bad_nodes == ("node2",)
    one = NodeProbeResult(nodes=nodes, faults=all_old[:1])
    assert (one.set_up_faults, one.bad_nodes) == ((), ("node1",))
    alone = NodeProbeResult(nodes=nodes[:1], faults=all_old[:1])
    assert (alone.set_up_faults, alone.bad_nodes) == (all_old[:1], ())


def test_ranks_that_do_not_meet_blame_no_node() -> None:
    answer = NodeProbeResult(nodes=("node1",), faults=(fault(NodeFaultKind.RENDEZVOUS, ""),))
    assert (answer.set_up_faults, answer.bad_nodes) == ((), ())

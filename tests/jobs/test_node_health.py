"""The health check of a node before a model is loaded: refusals, and the nodes named.

GPUs are fake (see `standin/fake_gpus.py`); disks, products, ranks and their sums are real.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import STANDIN

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.ports import find_free_port
from hala_hpc.jobs.gpu_cards import driver, driver_cards, kernel_fault, product_fault
from hala_hpc.jobs.gpu_set_up import Driver
from hala_hpc.jobs.node_faults import NodeFaultKind
from hala_hpc.jobs.node_health import has_gpu_build

#: Prints the result of the health check, or its exception.
CHECK = """
import logging, os, sys
from pathlib import Path
from hala_hpc.core.errors import BadNode, TransientError, UserError
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.node_health import check_node
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
gpus, ranks, work = sys.argv[1:]
check = "UNCHECKED" not in os.environ
try:
    asked = Resources(gpus_per_node=int(gpus), ranks_per_node=int(ranks), check_gpus=check)
    check_node(asked, Path(work), compiles="UNCOMPILED" not in os.environ)
except BadNode as error:
    print("bad", ",".join(error.nodes), error)
except UserError as error:
    print("mistake", error.code, error)
except TransientError as error:
    print("again", error)
"""


def start(
    folder: Path, fault: str, gpus: int = 2, ranks: int = 1, **env: str
) -> subprocess.Popen[str]:
    variables = {
        "HALA_NODE": "node7",
        "HALA_FAULT": fault,
        "PYTHONPATH": str(STANDIN),
        "CUDA_VISIBLE_DEVICES": "0,1",
        **env,
    }
    return subprocess.Popen(
        [sys.executable, "-c", CHECK, str(gpus), str(ranks), str(folder)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


def output_of(child: subprocess.Popen[str]) -> str:
    out, _ = child.communicate(timeout=300)
    assert child.returncode == 0, out
    return out.strip()


def test_only_jobs_of_a_scheduler_are_checked(tmp_path: Path) -> None:
    assert output_of(start(tmp_path, "bad_nodes=node7", HALA_NODE="")) == ""
    assert output_of(start(tmp_path, "bad_nodes=node7", UNCHECKED="1")) == "", "it was switched off"


@pytest.mark.skipif(has_gpu_build(), reason="the torch of this environment is built for GPUs")
def test_a_torch_for_cpus_is_refused_unless_cpus_are_meant(tmp_path: Path) -> None:
    ways: tuple[dict[str, str], ...] = ({}, {"UNCHECKED": "1"}, {"HALA_DEVICE": "cuda"})
    for output in [output_of(start(tmp_path, "", 2, 1, **way)) for way in ways]:
        assert output.startswith("mistake 78 this job requests GPUs")
        assert "HALA_DEVICE=cuda make env" in output
    assert output_of(start(tmp_path, "", HALA_DEVICE="cpu")) == ""
    assert output_of(start(tmp_path, "", HALA_NODE="")) == ""


@pytest.mark.slow
def test_a_good_node_is_reported_in_the_log(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "fake_gpus="))
    assert output == "node node7: 2 GPUs are free, have no errors and give right results"


def test_a_gpu_that_counted_errors_makes_a_bad_node(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "bad_nodes=node6+node7"))
    assert output == (
        "bad node7 node node7: GPU 0 (Fake, GPU-fake-0): 4 uncorrected memory errors (ECC) since "
        "its driver was loaded"
    )


def test_fewer_gpus_than_were_asked_for_make_a_bad_node(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "fake_gpus=", gpus=4))
    assert output == "bad node7 node node7: 2 GPUs are visible, but 4 were requested"


def test_a_gpu_on_which_cuda_does_not_start_makes_a_bad_node(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "fake_gpus=", HALA_FAKE_DEAD="1"))
    assert output == ("bad node7 node node7: GPU 0: CUDA does not start: CUDA error: made up")


def test_a_driver_that_is_too_old_blames_the_set_up_and_no_node(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "fake_gpus=", HALA_FAKE_CUDA="12.4"))
    assert output == (
        "mistake 78 node node7: the driver 550.54.15 is for CUDA 12.4, too old for this torch, "
        "which was built with CUDA 13.0 and needs R580 or newer. Other nodes with the same set-up "
        "fail too: ask the admins for a newer driver (a CUDA module is not one), or select "
        "nodes that have one: options.partition, options.constraint; if only this node has the "
        "fault, exclude it with options.exclude"
    )


def test_gpus_that_torch_was_not_built_for_blame_the_set_up(tmp_path: Path) -> None:
    output = output_of(start(tmp_path, "fake_gpus=", gpus=1, HALA_FAKE_ARCHS="sm_80,sm_100"))
    assert output.startswith("mistake 78 node node7: GPU 0 (Fake, GPU-fake-0): torch was built for")


@pytest.mark.slow
def test_a_node_without_a_compiler_blames_the_set_up_where_kernels_are_compiled(
    tmp_path: Path,
) -> None:
    output = output_of(start(tmp_path, "fake_gpus=", gpus=1, CC="/no/compiler"))
    assert output.startswith("mistake 78 node node7: the C compiler /no/compiler does not work")
    output = output_of(start(tmp_path, "fake_gpus=", gpus=1, CC="/no/compiler", UNCOMPILED="1"))
    assert (
        output
        == "node node7: 1 GPUs are free, have no errors and give right results; 2 are visible"
    )


@pytest.mark.slow
@pytest.mark.long
def test_memory_that_another_process_holds_is_reported_with_it(tmp_path: Path) -> None:
    holder = str(os.getpid())
    output = output_of(
        start(tmp_path, "fake_gpus=", HALA_FAKE_HELD_GB="40", HALA_FAKE_HOLDER=holder)
    )
    first, second = output.removeprefix("bad node7 ").split("; node node7: ")
    assert first == (
        "node node7: GPU 0 (Fake, GPU-fake-0): 40.0 of 80.0 GB are free, the rest is held: by "
        "processes that are not visible here"
    )
    owner = Path(f"/proc/{os.getpid()}").owner()
    assert second.endswith(f"held: process {os.getpid()} (python, of {owner}) 40960 MiB")


class FakeNvml:
    """A stand-in for `pynvml`: one of three GPUs is lost."""

    NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC = 1, 0
    sessions = 0

    class NVMLError(Exception):
        """The exception of the binding."""

    def nvmlInit(self) -> None:  # noqa: N802 - as in the binding, like those below
        self.sessions += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.sessions -= 1

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 12_040

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "550.54.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 3

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        if number == 1:
            raise self.NVMLError("GPU is lost")
        return number

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        del handle
        return "NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        del handle
        return SimpleNamespace(total=143_771 * 2**20)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:  # noqa: N802
        del handle
        return (9, 0)

    def nvmlDeviceGetTotalEccErrors(self, handle: int, kind: int, since: int) -> int:  # noqa: N802
        if handle == 2:
            raise self.NVMLError("Not Supported")
        assert (kind, since) == (1, 0), "uncorrected, since the driver was loaded"
        return 3

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        held = [(1, 5 * 2**20), (4_000_000, None)] if handle == 0 else []
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in held]

    def nvmlSystemGetProcessName(self, pid: int) -> str:  # noqa: N802
        if pid != 1:
            raise self.NVMLError("Not Found")
        return "init"


def test_the_drivers_answers_are_read() -> None:
    nvml = FakeNvml()
    first, last = driver_cards(nvml)
    assert nvml.sessions == 0
    assert (first.uuid, first.capability, first.uncorrected_errors) == ("GPU-0", (9, 0), 3)
    assert first.total_bytes // 2**20 == 143_771
    assert first.processes == (
        "process 1 (init, of root) 5 MiB",
        "process 4000000 (name unknown, owner unknown) memory unknown",
    )
    assert (last.uuid, last.uncorrected_errors, last.processes) == ("GPU-2", None, ())


def test_the_driver_reports_its_release_and_its_cuda() -> None:
    nvml = FakeNvml()
    assert driver(nvml) == Driver(release="550.54.15", cuda=(12, 4))
    assert nvml.sessions == 0


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a driver")
def test_a_machine_without_a_driver_shows_no_gpus() -> None:
    assert driver_cards() == []
    assert driver() is None


@pytest.mark.slow
def test_a_kernel_of_triton_is_run_and_its_numbers_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On the CPU, with Triton's interpreter.
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert kernel_fault("cpu") is None
    monkeypatch.setattr("hala_hpc.jobs.triton_kernel.doubled", lambda numbers: 3 * numbers)
    assert kernel_fault("cpu") == (
        NodeFaultKind.WRONG_RESULT,
        "cpu: a Triton kernel gives wrong numbers",
    )


@pytest.mark.slow
def test_a_product_is_calculated_rightly_by_every_type() -> None:
    assert product_fault("cpu") == ""
    assert "a matrix product failed" in product_fault("meta")


def ranks(folder: Path, faults: list[str]) -> list[str]:
    """Output of ranks on separate nodes, each with its fault."""
    port = str(find_free_port())
    children = [
        start(
            folder,
            fault,
            HALA_NODE=f"node{rank}",
            RANK=str(rank),
            WORLD_SIZE=str(len(faults)),
            LOCAL_RANK="0",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank, fault in enumerate(faults)
    ]
    return [output_of(child) for child in children]


@pytest.mark.long
@pytest.mark.slow
def test_ranks_meet_and_add_up(tmp_path: Path) -> None:
    output = ranks(tmp_path, ["fake_gpus=", "fake_gpus="])
    assert [text.partition(":")[0] for text in output] == ["node node0", "node node1"]


@pytest.mark.long
@pytest.mark.slow
def test_every_rank_names_the_node_of_a_bad_one(tmp_path: Path) -> None:
    output = ranks(tmp_path, ["fake_gpus=", "bad_nodes=node1"])
    assert [text[:24] for text in output] == ["bad node1 node node1: GP"] * 2


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True, timeout=WAIT_S).returncode:
        pytest.skip("cannot mount a tmpfs: requires root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=WAIT_S)


def test_a_full_disk_of_the_node_or_of_the_run_is_reported(tmp_path: Path, full_disk: Path) -> None:
    output = output_of(start(tmp_path, "", TMPDIR=str(full_disk)))
    assert (
        output
        == f"bad node7 node node7: {full_disk} has 0.06 GB left; free some space, or set TMPDIR"
    )
    output = output_of(start(full_disk, ""))
    assert output.startswith(
        f"mistake 73 {full_disk} has 0.06 GB left on its disk; free some space"
    )


def test_a_torch_that_cannot_be_imported_blames_the_set_up_and_a_crash_the_node(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "torch"
    broken.mkdir()
    paths = f"{STANDIN}{os.pathsep}{tmp_path}"
    (broken / "__init__.py").write_text("raise ImportError('libcudart.so.12')")
    output = output_of(start(tmp_path, "fake_gpus=", PYTHONPATH=paths))
    assert output.startswith("mistake 78 node node7: the environment is broken: libcudart.so.12. ")
    (broken / "__init__.py").write_text("import ctypes; ctypes.CDLL('libcudart.so.12')")
    output = output_of(start(tmp_path, "fake_gpus=", PYTHONPATH=paths))
    assert output.startswith("mistake 78 node node7: the environment is broken: libcudart.so.12: ")
    (broken / "__init__.py").write_text("raise OSError(5, 'Input/output error')")
    output = output_of(start(tmp_path, "fake_gpus=", PYTHONPATH=paths))
    assert output.startswith("bad node7 node node7: the check of its GPUs ended with code 1")
    (broken / "__init__.py").write_text("import os; os.abort()")
    output = output_of(start(tmp_path, "fake_gpus=", PYTHONPATH=paths))
    assert output.startswith("bad node7 node node7: the check of its GPUs ended with code -6")

"""Check what a node needs besides its GPUs: a recent driver and a C compiler.

Wheels of torch contain CUDA, so no CUDA module of the site is needed; only the driver comes from
the node. Triton, which vLLM, TRL and Liger use, compiles C against Python.h on each node.
"""

import ctypes
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.jobs.node_faults import NodeFaultKind

#: Oldest driver for each CUDA that torch may be built with, by NVIDIA's table of minor version
#: compatibility: docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
MIN_DRIVER: Mapping[int, str] = {11: "R450", 12: "R525", 13: "R580"}
#: Seconds to compile a file of one line, with a cold file system.
COMPILE_LIMIT_S = 60
#: Source without headers, and with those of Python.
PLAIN = "int hala_hpc_probe(void) { return 1; }\n"
WITH_PYTHON = f"#include <Python.h>\n{PLAIN}"

#: A version (major, minor) of CUDA or of a compute capability.
Version = tuple[int, int]


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver of a machine."""

    release: str
    """E.g. 550.54.15."""
    cuda: Version
    """Newest CUDA version that it supports, including a forward compatibility package."""


def driver_fault(driver: Driver | None, build: Version | None) -> str:
    """Why torch, built with some CUDA, cannot run on a driver; "" if it can or if unknown.

    Since CUDA 11, a build runs on every driver for the same major version.
    """
    if driver is None or build is None or driver.cuda[0] >= build[0]:
        return ""
    min_driver = MIN_DRIVER.get(build[0], f"one for CUDA {build[0]}.0")
    return (
        f"the driver {driver.release} is for CUDA {format_version(driver.cuda)}, too old for this "
        f"torch, which was built with CUDA {format_version(build)} and needs {min_driver} or newer"
    )


def support_fault(capability: Version | None, built_for: Sequence[str]) -> str:
    """Why torch has no code for a GPU of some compute capability; "" if it has.

    `built_for`: torch's architecture list, e.g. sm_90, compute_120. Code for a GPU runs on later
    ones of the same major version; PTX (`compute_`) is compiled for any later one.
    """
    if capability is None or not built_for:
        return ""
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        min_capability = int(digits[:-1]), int(digits[-1])
        if min_capability <= capability and (
            kind == "compute" or min_capability[0] == capability[0]
        ):
            return ""
    return (
        f"torch was built for {', '.join(built_for)}, and this GPU has compute capability "
        f"{format_version(capability)}"
    )


def compiler_fault() -> tuple[NodeFaultKind, str] | None:
    """Why no C extension can be compiled here; None if it can.

    Compiles and loads a file of one line as Triton does (`triton/runtime/build.py`): with CC, else
    gcc, else clang, and the headers of this Python.
    """
    compiler = os.environ.get("CC", shutil.which("gcc") or shutil.which("clang"))
    if compiler is None:
        return (
            NodeFaultKind.COMPILER,
            "no C compiler: neither CC is set nor gcc or clang on the PATH",
        )
    with tempfile.TemporaryDirectory(prefix="hala-compile-") as folder:
        if wrong := compile_fault(compiler, PLAIN, Path(folder) / "plain.c"):
            return NodeFaultKind.COMPILER, f"the C compiler {compiler} does not work: {wrong}"
        if wrong := compile_fault(compiler, WITH_PYTHON, Path(folder) / "python.c"):
            where = headers_folder()
            return NodeFaultKind.HEADERS, f"{compiler} finds no Python.h in {where}: {wrong}"
        try:
            ctypes.CDLL(str(Path(folder) / "python.so"))
        except OSError as error:
            what = f"a library compiled in {folder} cannot be loaded: {error}"
            return NodeFaultKind.COMPILER, what
    return None


def compile_fault(compiler: str, text: str, source: Path) -> str:
    """Compile a source to a library beside it; return the error, or "" if it worked."""
    source.write_text(text)
    library = source.with_suffix(".so")
    include = f"-I{headers_folder()}"
    command = [compiler, str(source), "-O1", "-shared", "-fPIC", "-o", str(library), include]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMPILE_LIMIT_S,
        )
    except OSError as error:
        return str(error.strerror)
    except subprocess.TimeoutExpired:
        return f"it did not finish within {COMPILE_LIMIT_S} s"
    if done.returncode == 0 and library.exists():
        return ""
    # The first non-empty line: the following ones only point at the position.
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"exit code {done.returncode}"


def headers_folder() -> str:
    """Folder of this interpreter's Python.h, as Triton determines it."""
    scheme = sysconfig.get_default_scheme()
    # posix_local, Debian's scheme for local installations, has no headers.
    scheme = "posix_prefix" if scheme == "posix_local" else scheme
    return sysconfig.get_paths(scheme=scheme)["include"]


def format_version(version: Version) -> str:
    """`13.0`."""
    return ".".join(map(str, version))

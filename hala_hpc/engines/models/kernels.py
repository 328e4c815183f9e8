"""Kernels of the hub: their references, the build that jobs load, and checks that they can.

A repository has a build for each version of torch and CUDA, `build/<variant>/`. The library
`kernels` loads the one that fits, and without a network the one in the cache.
"""

import os
import re
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from hala_hpc.core.builds import (
    TorchBuild,
    find_package_folders,
    find_torch_build,
    uses_system_packages,
)
from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.hub import parse_hub_reference

#: The package that loads kernels; transformers 5.19 needs it for every kernel.
LIBRARY = "kernels"
#: Major version that transformers 5.19 loads without a named revision
#: (FLASH_ATTN_KERNEL_VERSIONS in its modeling_flash_attention_utils.py), and that of all others.
VERSIONS = {
    "kernels-community/flash-attn2": 3,
    "kernels-community/flash-attn3": 1,
    "kernels-community/vllm-flash-attn3": 1,
    "kernels-community/aiter-flash-attn": 2,
    "kernels-community/flash-attn4": 0,
    "kernels-community/metal-flash-sdpa": 2,
}
OTHER_VERSION = 1
#: Names of builds, as kernels 0.17 parses them (kernels/variants.py): for one version of torch, for
#: it and later ones, or for tvm-ffi; with backend and machine. Others are pure Python.
COMPILED = re.compile(
    r"(?:torch(\d)(\d+)(?:-cxx11)?|torch-stable-abi(\d)(\d+)|tvm-ffi\d+)"
    r"-(cpu|cu\d+)-(\w+)-(\w+)"
)
PLAIN = re.compile(r"torch-(cpu|cuda|universal)")
#: Not loaded; the library leaves them out, too.
BYTECODE = ("__pycache__/", ".pyc")
#: Maximum number of builds in a message.
MAX_LISTED_BUILDS = 6


class Packaged(NamedTuple):
    """A kernel that also exists as a package: loaded from the hub only without the package."""

    package: str
    kernel: str


#: Attention names with a fallback to the hub in transformers 5.19 (FLASH_ATTN_KERNEL_FALLBACK).
PACKAGED = {
    "flash_attention_2": Packaged("flash_attn", "kernels-community/flash-attn2"),
    "flash_attention_3": Packaged("flash_attn_interface", "kernels-community/vllm-flash-attn3"),
}


class BuildFit(NamedTuple):
    """Sort key of a build: the library prefers the smallest."""

    kind: int
    """0 for a stable interface of torch, 1 for one version of torch, 2 for tvm-ffi, 3 for pure
    Python."""
    age: tuple[int, ...] = ()
    """Negative version numbers: newer interfaces and newer CUDA come first."""


def kernel_reference(value: str) -> str:
    """Return the hub reference `owner/name@revision` of a kernel name of transformers.

    The name is `owner/name[@revision][:name]`. Without a revision it is the branch of the major
    version that transformers loads.
    """
    name, revision = parse_hub_reference(value.strip().partition(":")[0].strip())
    return f"{name}@{revision or f'v{VERSIONS.get(name, OTHER_VERSION)}'}"


def attention_kernels(attention: str, python: str) -> list[str]:
    """Return the kernels of the hub that a model loads for an attention name of transformers.

    `python` is the interpreter of the environment main. Empty for attention of torch and
    transformers themselves, and for a package that is installed there.
    """
    if "/" in attention:
        return [attention]
    found = PACKAGED.get(attention)
    return [found.kernel] if found and not has_package(python, found.package) else []


def needed_files(names: Iterable[str], python: str) -> list[str]:
    """Select from the paths of all files of a kernel those of the build that jobs load, in order.

    `python` is the interpreter of the environment main; if its torch is unknown, all builds count.

    Raises: UserError (NO_INPUT) if no build fits.
    """
    listed = [name for name in names if name.startswith("build/") and name.count("/") > 1]
    listed = sorted(name for name in listed if not any(part in name for part in BYTECODE))
    found = {name.split("/")[1]: None for name in listed}
    build = find_torch_build(python)
    if build is None:
        return listed
    fits = {one: fit for one in found if (fit := rate_build(one, build, os.uname().machine))}
    if not fits:
        builds = ", ".join(list(found)[:MAX_LISTED_BUILDS]) or "none"
        raise UserError(
            f"it has no build for torch {build.version} ({build.cuda or 'cpu'}) on "
            f"{os.uname().machine}; it has {builds}: name a revision that has one",
            NO_INPUT,
        )
    best = min(fits, key=lambda one: (fits[one], one))
    return [name for name in listed if name.split("/")[1] == best]


def rate_build(variant: str, build: TorchBuild, machine: str) -> BuildFit | None:
    """Return the sort key of a build for an environment; None if it does not fit."""
    if match := PLAIN.fullmatch(variant):
        fits = match[1] in ("universal", build.device)
        return BuildFit(3, (match[1] == "universal",)) if fits else None
    match = COMPILED.fullmatch(variant)
    if match is None or match.group(6, 7) != (machine, "linux"):
        return None
    minor = cuda_fit(match[5], build)
    if minor is None:
        return None
    ours = parse_version(build.version)
    if match[1]:
        return BuildFit(1, (-minor,)) if (int(match[1]), int(match[2])) == ours else None
    if match[3]:
        stable = (int(match[3]), int(match[4]))
        return BuildFit(0, (-stable[0], -stable[1], -minor)) if stable <= ours else None
    return BuildFit(2, (-minor,))


def cuda_fit(backend: str, build: TorchBuild) -> int | None:
    """Return the minor CUDA version of a backend such as `cu128`, if not above torch's.

    0 for CPUs, None if it does not fit.
    """
    if backend == "cpu" or build.device == "cpu":
        return 0 if backend == build.device else None
    major, minor = int(backend[2:-1]), int(backend[-1])
    ours = parse_version(build.cuda)
    return minor if major == ours[0] and minor <= ours[1] else None


def parse_version(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version such as `2.13.0+cpu`; zeros if there are none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def library_fault(python: str) -> str:
    """Return why the environment of an interpreter cannot load kernels; empty if no fault is found.

    Nothing is imported.
    """
    folders = list(find_package_folders(python))
    if not folders or uses_system_packages(python) or has_package(python, LIBRARY):
        # An environment with another layout, or with access to other packages, proves nothing.
        return ""
    return (
        f"cannot be loaded in environment main ({python}), which has no package {LIBRARY}: "
        f"`{Path(python).with_name('uv')} pip install --python {python} 'transformers[{LIBRARY}]'` "
        "installs the version that its transformers supports"
    )


def has_package(python: str, package: str) -> bool:
    """Whether the environment of an interpreter has a package; nothing is imported."""
    if Path(python) == Path(sys.executable):
        return find_spec(package) is not None
    names = (package, f"{package}.py")
    return any(
        (folder / name).exists() for folder in find_package_folders(python) for name in names
    )


def open_kernel(reference: str) -> list[str]:
    """Find a kernel without a network, as a job does; return a line if that fails.

    The kernel is not imported: a login node may have no GPU for it.
    """
    from transformers.utils import is_kernels_available

    if fault := library_fault(sys.executable):
        return [f"kernel {reference} {fault}"]
    if not is_kernels_available():
        return [
            f"kernel {reference}: the package {LIBRARY} of {sys.executable} has a version that its "
            f"transformers does not support; 'transformers[{LIBRARY}]' names the supported ones"
        ]
    from kernels import install_kernel

    name, revision = parse_hub_reference(reference)
    version = re.fullmatch(r"v(\d+)", revision or "")
    wanted = {"version": int(version[1])} if version else {"revision": revision}
    try:
        install_kernel(name, **wanted, local_files_only=True)
    except Exception as error:  # noqa: BLE001
        # Any error of the library about an unusable build, or a kernel that needs another one: a
        # job would fail in the same way.
        lines = [line for line in str(error).splitlines() if line.strip()]
        return [f"kernel {reference}: {type(error).__name__}: {lines[0] if lines else 'no text'}"]
    return []

"""Kernels of the hub: what a setting names, which build of one jobs load, and whether they can.

A repository holds a build for each version of torch and CUDA, `build/<variant>/`; the library
`kernels` loads the one that fits, and without a network the one that is here.
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

#: The package that loads them; transformers 5.19 needs it for every kernel.
LIBRARY = "kernels"
#: Major version that transformers 5.19 takes where no revision is named
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
#: Names of builds, as kernels 0.17 reads them (kernels/variants.py): for one version of torch, for
#: it and later ones, or for tvm-ffi; with the backend and the machine. Others are of Python alone.
COMPILED = re.compile(
    r"(?:torch(\d)(\d+)(?:-cxx11)?|torch-stable-abi(\d)(\d+)|tvm-ffi\d+)"
    r"-(cpu|cu\d+)-(\w+)-(\w+)"
)
PLAIN = re.compile(r"torch-(cpu|cuda|universal)")
#: Not loaded, and left out by the library, too.
BYTECODE = ("__pycache__/", ".pyc")
#: Builds that a message names.
MAX_LISTED_BUILDS = 6


class Packaged(NamedTuple):
    """A kernel that is a package, too: loaded from the hub only where that is not installed."""

    package: str
    kernel: str


#: Names of attention for which transformers 5.19 turns to the hub (FLASH_ATTN_KERNEL_FALLBACK).
PACKAGED = {
    "flash_attention_2": Packaged("flash_attn", "kernels-community/flash-attn2"),
    "flash_attention_3": Packaged("flash_attn_interface", "kernels-community/vllm-flash-attn3"),
}


class BuildFit(NamedTuple):
    """How well a build fits, the smallest first: the order in which the library prefers them."""

    kind: int
    """0 for a stable interface of torch, 1 for one version of torch, 2 for tvm-ffi, 3 for Python
    alone."""
    age: tuple[int, ...] = ()
    """Newer interfaces and newer CUDA first: their numbers, negative."""


def kernel_reference(value: str) -> str:
    """`owner/name@revision` of a kernel as transformers names it, `owner/name[@revision][:name]`.

    Without a revision it is the branch of the major version that transformers takes.
    """
    name, revision = parse_hub_reference(value.strip().partition(":")[0].strip())
    return f"{name}@{revision or f'v{VERSIONS.get(name, OTHER_VERSION)}'}"


def attention_kernels(attention: str, python: str) -> list[str]:
    """The kernels of the hub that a model loads for a name of attention, as transformers has it.

    `python`: interpreter of the environment main. None for what torch and transformers compute
    themselves, and for a package that is installed there.
    """
    if "/" in attention:
        return [attention]
    found = PACKAGED.get(attention)
    return [found.kernel] if found and not has_package(python, found.package) else []


def needed_files(names: Iterable[str], python: str) -> list[str]:
    """Of the paths of all files of a kernel those of the build that jobs load, in order.

    `python`: interpreter of the environment main; where its torch is not known all builds count.
    Raises UserError (66) where no build fits.
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
    """How well a build fits an environment; None if it does not."""
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
    """Minor version of CUDA of a backend such as `cu128` that fits: one not above torch's.

    0 for CPUs, None where it does not fit.
    """
    if backend == "cpu" or build.device == "cpu":
        return 0 if backend == build.device else None
    major, minor = int(backend[2:-1]), int(backend[-1])
    ours = parse_version(build.cuda)
    return minor if major == ours[0] and minor <= ours[1] else None


def parse_version(version: str) -> tuple[int, int]:
    """The first two numbers of a version such as `2.13.0+cpu`; zeros where there are none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def library_fault(python: str) -> str:
    """Why the environment of an interpreter cannot load kernels; empty if nothing shows.

    Looked up without importing anything.
    """
    folders = list(find_package_folders(python))
    if not folders or uses_system_packages(python) or has_package(python, LIBRARY):
        # An environment that is arranged in another way, or sees more, says nothing.
        return ""
    return (
        f"cannot be loaded in environment main ({python}), which has no package {LIBRARY}: "
        f"`{Path(python).with_name('uv')} pip install --python {python} 'transformers[{LIBRARY}]'` "
        "adds the version that its transformers takes"
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
    """Find a kernel without a network, as a job does; a line for what keeps it from that.

    It is not imported: a login node may have no GPU for it.
    """
    from transformers.utils import is_kernels_available

    if fault := library_fault(sys.executable):
        return [f"kernel {reference} {fault}"]
    if not is_kernels_available():
        return [
            f"kernel {reference}: the package {LIBRARY} of {sys.executable} is of a version that "
            f"its transformers does not take; 'transformers[{LIBRARY}]' names those it takes"
        ]
    from kernels import install_kernel

    name, revision = parse_hub_reference(reference)
    version = re.fullmatch(r"v(\d+)", revision or "")
    wanted = {"version": int(version[1])} if version else {"revision": revision}
    try:
        install_kernel(name, **wanted, local_files_only=True)
    except Exception as error:  # noqa: BLE001
        # Whatever the library makes of a build that it cannot use, or of a kernel that needs
        # another one: a job would die of the same.
        lines = [line for line in str(error).splitlines() if line.strip()]
        return [f"kernel {reference}: {type(error).__name__}: {lines[0] if lines else 'no text'}"]
    return []

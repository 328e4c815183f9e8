"""Find which torch build an environment has, for CPUs or for GPUs, without importing torch.

The import takes seconds, and another interpreter may have another torch. A few files are enough.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]
#: The two devices, as a launcher and `make env` name them.
DEVICES: tuple[Device, ...] = ("cpu", "cuda")
#: Variable that selects the device, for `make env` and in a launcher's [environment].
DEVICE_VARIABLE = "HALA_DEVICE"
#: Lines of torch/version.py that name the GPUs of the build; their value is None if there are none.
GPU_LINES = ("cuda", "hip", "rocm", "xpu")
#: Metadata folder of this package in the folder of an environment.
OWN_METADATA = "hala_hpc-*.dist-info"


@dataclass(frozen=True)
class TorchBuild:
    """The torch build of an environment."""

    version: str
    """As torch reports it, e.g. 2.13.0+cpu."""
    device: Device
    """cuda: for GPUs of any vendor."""
    cuda: str = ""
    """CUDA version of the build, e.g. 13.0; empty for none."""


def find_torch_build(python: str) -> TorchBuild | None:
    """The torch build in the environment of an interpreter; None if none is found.

    An environment may be arranged in another way, e.g. behind a program that enters a container:
    None does not mean that torch is missing.
    """
    if Path(python) == Path(sys.executable):
        return own_build()
    files = (folder / "torch" / "version.py" for folder in find_package_folders(python))
    return next((read_build(path) for path in files if path.is_file()), None)


def own_build() -> TorchBuild | None:
    """The torch build in the environment of this process; None without torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("version.py")
    return read_build(path) if path.is_file() else None


def read_build(path: Path) -> TorchBuild:
    """Read a torch/version.py; its lines are `name = value`, with types."""
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values[name.partition(":")[0].strip()] = value.strip().strip("'\"")
    on_gpus = any(values.get(name, "None") != "None" for name in GPU_LINES)
    cuda = values.get("cuda", "None")
    return TorchBuild(
        values.get("__version__", ""), "cuda" if on_gpus else "cpu", "" if cuda == "None" else cuda
    )


def lacks_job_libraries(python: str) -> bool:
    """Whether an environment has this package but nothing that its jobs import.

    False if its folders do not show it.
    """
    if Path(python) == Path(sys.executable):
        return find_spec("torch") is None
    if uses_system_packages(python):
        return False
    folders = list(find_package_folders(python))
    has_own = any(next(folder.glob(OWN_METADATA), None) for folder in folders)
    return has_own and not any((folder / "torch").is_dir() for folder in folders)


def find_package_folders(python: str) -> Iterator[Path]:
    """Folders of the packages in the environment of an interpreter.

    Links are not followed: the interpreter of an environment is a link to that of the system.
    """
    root = Path(python).absolute().parent.parent
    for lib in ("lib", "lib64"):
        yield from root.glob(f"{lib}/python3*/site-packages")


def uses_system_packages(python: str) -> bool:
    """Whether an environment also sees the packages of the Python that it is based on."""
    try:
        text = (Path(python).absolute().parent.parent / "pyvenv.cfg").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    lines = (line.partition("=") for line in text.lower().splitlines())
    return any(
        (name.strip(), value.strip()) == ("include-system-site-packages", "true")
        for name, _, value in lines
    )

"""Environments whose files look like a CPU or a GPU build; nothing in them is run."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from checkout import ROOT

#: Content of torch/version.py in the wheel of each build.
VERSION = """from typing import Optional
__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'rocm', 'xpu']
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda}
hip: Optional[str] = None
xpu: Optional[str] = None
"""
BUILDS = {"cpu": ("2.13.0+cpu", "None"), "cuda": ("2.13.0", "'13.0'")}


def environment(folder: Path, device: str = "") -> Path:
    """Make an environment with a torch of this build, or without torch; return its interpreter."""
    if (python := folder / "bin" / "python").exists():
        return python
    packages = folder / "lib" / "python3.11" / "site-packages"
    (packages / "hala_hpc-0.1.0.dist-info").mkdir(parents=True)
    (folder / "bin").mkdir()
    python.symlink_to(sys.executable)
    if device:
        version, cuda = BUILDS[device]
        (packages / "torch").mkdir()
        # The cached answers then apply to it, and lm-eval is not run.
        (packages / f"lm_eval-{version_of('lm_eval')}.dist-info").mkdir()
        (packages / "torch" / "version.py").write_text(VERSION.format(version=version, cuda=cuda))
    return python


def pythons(folder: Path, device: str = "") -> str:
    """The table [python] of a launcher with two environments of this build."""
    main = environment(folder / f"main-{device}", device)
    quantize = environment(folder / f"quantize-{device}", device)
    return f'\n[python]\nmain = "{main}"\nquantize = "{quantize}"\n'


def built_for_gpus(folder: Path, name: str) -> str:
    """`launcher=...` of a shipped launcher whose environments are GPU builds."""
    path = folder / f"{name}.toml"
    table = "" if name in ("local", "minislurm") else pythons(folder / name, "cuda")
    path.write_text((ROOT / "launchers" / f"{name}.toml").read_text() + table)
    return f"launcher={path}"

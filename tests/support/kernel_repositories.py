"""Kernels for the hub stand-in, a stage that loads one, and a stand-in of the kernels library."""

import json
from pathlib import Path

from hala_hpc.core.builds import own_build
from hala_hpc.engines.models.kernels import parse_version

#: A foreign stage that loads the kernel named in its setting.
STAGE = """
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage
from hala_hpc.engines.models.kernels import attention_kernels


class Settings(StageSettings):
    attention: str


class Attend(Stage[Settings]):
    name = "attend"
    produces = "scores"
    Settings = Settings

    def kernels(self, python):
        return attention_kernels(self.settings.attention, python)


STAGE = Attend
"""
#: The part of `kernels` 0.17 that a fetch calls: like it, works offline with huggingface_hub.
LIBRARY = """
from pathlib import Path
from huggingface_hub import snapshot_download


def install_kernel(repo_id, *, revision=None, version=None, local_files_only=False):
    assert local_files_only
    found = snapshot_download(
        repo_id,
        repo_type="kernel",
        revision=revision or f"v{version}",
        ignore_patterns=["*.pyc", "**/__pycache__/**"],
        local_files_only=True,
    )
    builds = [one for one in Path(found, "build").iterdir() if (one / "metadata.json").is_file()]
    if not builds:
        raise FileNotFoundError(f"Cannot find a build variant for this system in {repo_id}")
    return builds[0]
"""


def write_stage(folder: Path, kernel: str) -> str:
    """Write a recipe whose node loads a kernel; return the override `recipe=...`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attend.py").write_text(STAGE)
    (folder / "kernel.toml").write_text(f'[one]\nstage = "attend.py"\nattention = "{kernel}"\n')
    return f"recipe={folder}/kernel.toml"


def write_library(folder: Path, version: str = "0.17.2") -> Path:
    """Make a folder for PYTHONPATH in which the library is installed."""
    package, facts = folder / "kernels", folder / f"kernels-{version}.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text(LIBRARY)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.4\nName: kernels\nVersion: {version}\n")
    return folder


def own_variant() -> str:
    """Name of the build variant for the torch of this process."""
    import os

    build = own_build()
    assert build is not None
    major, minor = parse_version(build.version)
    backend = "cu" + "".join(map(str, parse_version(build.cuda))) if build.cuda else "cpu"
    return f"torch{major}{minor}-cxx11-{backend}-{os.uname().machine}-linux"


def kernel(fill: int = 0) -> dict[str, bytes]:
    """The files of a kernel: the build for this torch, other builds, and unneeded files."""
    facts = {
        "id": "attention_0",
        "name": "attention",
        "version": 3,
        "license": "Apache-2.0",
        "python-depends": [],
        "backend": {"type": "cpu"},
    }
    files = {"README.md": b"# attention\n"}
    for variant in (own_variant(), "torch11-cxx11-cu118-x86_64-linux", "torch-xpu"):
        files |= {
            f"build/{variant}/__init__.py": b"flash_attn_varlen_func = print\n",
            f"build/{variant}/metadata.json": json.dumps(facts).encode(),
            f"build/{variant}/_ops.abi3.so": bytes([fill]) * 50_000,
            f"build/{variant}/layers/__init__.py": b"# layers\n",
            f"build/{variant}/__pycache__/__init__.pyc": b"pyc",
        }
    return files

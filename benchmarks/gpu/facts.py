"""The card, its driver, and versions of packages, read without initializing CUDA here."""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from benchmarks.gpu.parts import Part
from hala_hpc.core.builds import own_build
from hala_hpc.core.record import JsonRecord

#: Distributions whose versions affect the figures.
PACKAGES = (
    "torch", "triton", "transformers", "trl", "accelerate", "datasets", "peft", "pyarrow",
    "pydantic", "mergekit", "liger-kernel", "flash-attn", "causal-conv1d", "kernels",
)  # fmt: skip
#: Timeout in seconds of nvidia-smi, which hangs if a card is lost.
LIMIT_S = 20


class CardFacts(JsonRecord):
    """Output of nvidia-smi for a card."""

    name: str
    driver: str
    memory: str


class Facts(JsonRecord):
    """The environment of the figures."""

    card: CardFacts | None
    """The first; None without one."""
    cards: int
    torch_cuda: str
    """CUDA version of torch; empty for CPU builds."""
    python: str
    versions: dict[str, str]
    """By package; absent ones are left out."""


def facts() -> Facts:
    """Collect the facts of this machine."""
    found, build = cards(), own_build()
    return Facts(
        card=found[0] if found else None,
        cards=len(found),
        torch_cuda=build.cuda if build else "",
        python=sys.version.partition(" ")[0],
        versions={name: number for name in PACKAGES if (number := version_of(name))},
    )


def cards() -> list[CardFacts]:
    """Return all cards; none if there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    asked = "--query-gpu=name,driver_version,memory.total"
    try:
        done = subprocess.run(
            ["nvidia-smi", asked, "--format=csv,noheader"],
            check=True, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.split(", ") for line in done.stdout.splitlines())
    return [CardFacts(name=one[0], driver=one[1], memory=one[2]) for one in rows if len(one) == 3]


def version_of(name: str) -> str:
    """Return the version of a package; "" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def missing(part: Part) -> list[str]:
    """Return the packages of a part that cannot be imported here."""
    return [name for name in part.packages if find_spec(name) is None]

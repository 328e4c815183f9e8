"""What a recipe for a pair of languages is asked to be: languages, models, GPUs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import is_hub_id
from hala_hpc.core.paths import expand_path
from hala_hpc.data.text.language_support import LanguageSupport, find_language

DEFAULT_BASE = "LiquidAI/LFM2-1.2B"
#: The teacher of the paper, and the billions of its weights.
PAPER_TEACHER = "CohereLabs/command-a-translate-08-2025"
#: GPUs of one machine: what most clusters have at most (assumed).
MAX_GPUS_PER_NODE = 8
GPUS = re.compile(r"(?P<count>[1-9][0-9]{0,3})x(?P<memory_gb>[1-9][0-9]{0,3})")


@dataclass(frozen=True)
class GpuSet:
    """GPUs that a recipe may use at once."""

    count: int
    memory_gb: int
    """Memory of each, in GB."""

    @property
    def per_node(self) -> int:
        """GPUs of one machine."""
        return min(self.count, MAX_GPUS_PER_NODE)

    @property
    def nodes(self) -> int:
        """Machines with as many GPUs."""
        return max(1, self.count // MAX_GPUS_PER_NODE)

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.count}x{self.memory_gb}"


@dataclass(frozen=True)
class PairRequest:
    """A recipe to write."""

    source: LanguageSupport
    target: LanguageSupport
    base: str
    """Hub id or folder of the model that learns the language, and of the translator."""
    teacher: str
    """Hub id or folder of the model that writes pairs for the translator; empty for none."""
    gpus: GpuSet
    file: Path
    """The recipe."""
    arguments: Mapping[str, str]
    """As given, to write them into the head."""

    @property
    def opus(self) -> str:
        """Subset of OPUS-100 for this pair; empty if it has none."""
        other = self.target if self.source.code == "en" else self.source
        return other.opus if "en" in (self.source.code, self.target.code) else ""

    @property
    def work(self) -> str:
        """Folder of the results in the commands of the head."""
        return f"runs/{self.target.code}"


def parse_request(overrides: Mapping[str, str]) -> PairRequest:
    """Read the arguments of `hala new`. Raises: one UserError with all mistakes."""
    mistakes: list[str] = []

    def language(key: str, default: str) -> LanguageSupport:
        try:
            return find_language(key, overrides.get(key) or default)
        except UserError as error:
            mistakes.extend(error.mistakes)
            return LanguageSupport("", "")

    target, source = language("language", "?"), language("from", "en")
    if not overrides.get("language"):
        mistakes[:] = ["language= is missing: write an ISO 639 code, e.g. language=sw"]
    elif target.code == source.code:
        mistakes.append(f"language={target.code} from={source.code}: write two languages")
    base = overrides.get("base") or DEFAULT_BASE
    default_teacher = PAPER_TEACHER if target.teacher and source.code in ("en", "") else ""
    teacher = overrides.get("teacher", default_teacher)
    mistakes += [*model_mistakes("base", base), *(model_mistakes("teacher", teacher))]
    gpus = parse_gpus(overrides.get("gpus") or "8x80", mistakes)
    file = expand_path("to", overrides.get("to") or f"{target.code or 'recipe'}.toml")
    if file.suffix != ".toml":
        mistakes.append(f"to={file}: the name of a recipe ends in .toml")
    elif file.exists():
        mistakes.append(f"to={file}: exists already; remove it, or name another file with to=")
    if mistakes:
        raise UserError(mistakes)
    return PairRequest(source, target, base, teacher, gpus, file, overrides)


def parse_gpus(text: str, mistakes: list[str]) -> GpuSet:
    """Read `8x80`: eight GPUs of 80 GB; a mistake becomes a line."""
    found = GPUS.fullmatch(text)
    if found is None:
        mistakes.append(f"gpus={text}: write number and GB of each, as in gpus=8x80")
        return GpuSet(1, 80)
    return GpuSet(int(found["count"]), int(found["memory_gb"]))


def model_mistakes(key: str, value: str) -> list[str]:
    """A line for a model that is neither a hub id nor an existing folder."""
    if not value or is_hub_id(value) or Path(value).expanduser().is_dir():
        return []
    return [f"{key}={value}: neither a hub id (owner/name) nor an existing folder"]

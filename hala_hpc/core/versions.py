"""Versions of the libraries that make a result."""

import contextlib
import functools
import sys

#: Libraries whose versions are recorded if they were loaded.
REPORTED = (
    "vllm",
    "torch",
    "transformers",
    "trl",
    "deepspeed",
    "mergekit",
    "llmcompressor",
    "lm_eval",
    "sacrebleu",
    "datasets",
    "pyarrow",
)


@functools.cache
def version_of(module: str) -> str:
    """Version of the distribution that a module comes from; empty if there is none of that name."""
    import importlib.metadata

    for name in (module, f"{module}-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def loaded_versions() -> dict[str, str]:
    """Versions of the libraries that this process loaded."""
    found = {module: version_of(module) for module in REPORTED if module in sys.modules}
    return {"python": sys.version.split()[0]} | {
        m: version for m, version in found.items() if version
    }

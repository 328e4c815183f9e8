"""Select the files of a hub model that jobs read: one weight format, and the small files."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from hala_hpc.engines.models.files import WEIGHT_PATTERNS

#: Patterns of configuration, tokenizer, templates, card and licence.
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.md", "LICENSE*", "NOTICE*")
#: A tokenizer may have several templates, each in its own file.
TEMPLATES = "additional_chat_templates/*.jinja"


def needed_names(names: Iterable[str], weights: bool) -> list[str]:
    """Select from the paths of all files of a model those that jobs read, in order.

    `weights` includes the weights. Of several formats the first in the order of transformers and
    vLLM is selected: safetensors before pickled files, which would double a download. Folders of
    other formats (`onnx/`, `original/`, `gguf/`) are left out.
    """
    listed = sorted(names)
    top = [name for name in listed if "/" not in name]
    needed = {name for name in listed if fnmatchcase(name, TEMPLATES)}
    needed |= {name for name in top if any(fnmatchcase(name, small) for small in SMALL_FILES)}
    return sorted(needed.union(weight_names(top) if weights else ()))


def weight_names(top: Sequence[str]) -> list[str]:
    """Return the weight files of the first format that exists."""
    for _, pattern in WEIGHT_PATTERNS:
        if found := [name for name in top if fnmatchcase(name, pattern)]:
            return found
    return []

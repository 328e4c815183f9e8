"""Which files of a model on the hub jobs read: one format of weights, and what is small."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from hala_hpc.engines.models.files import WEIGHT_PATTERNS

#: Endings and names of configuration, tokenizer, templates, card and licence.
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.md", "LICENSE*", "NOTICE*")
#: A tokenizer may have several templates, each a file of its own.
TEMPLATES = "additional_chat_templates/*.jinja"


def needed_names(names: Iterable[str], weights: bool) -> list[str]:
    """Of the paths of all files of a model those that jobs read, in order.

    `weights`: whether the weights are read, too. Of several formats the first is taken in the order
    in which transformers and vLLM look: safetensors before pickled files, which double a download.
    Folders of other things (`onnx/`, `original/`, `gguf/`) are left out.
    """
    listed = sorted(names)
    top = [name for name in listed if "/" not in name]
    needed = {name for name in listed if fnmatchcase(name, TEMPLATES)}
    needed |= {name for name in top if any(fnmatchcase(name, small) for small in SMALL_FILES)}
    return sorted(needed.union(weight_names(top) if weights else ()))


def weight_names(top: Sequence[str]) -> list[str]:
    """The weight files of the first format that there is."""
    for _, pattern in WEIGHT_PATTERNS:
        if found := [name for name in top if fnmatchcase(name, pattern)]:
            return found
    return []

"""The parts of the measurement: task, time limit and requirements of each."""

from typing import NamedTuple

#: Seconds of all parts on a GPU, with the starts of their processes.
WHOLE_LIMIT_S = 480
#: On CPUs all sizes are small; the time depends on other load of the machine.
THIN_LEISURE = 4


class Part(NamedTuple):
    """One part: a module of this package with a function `run`."""

    name: str
    """Of the module, and in the result."""
    limit_s: int
    """Seconds after which it is ended; its figures until then count."""
    packages: tuple[str, ...]
    """Import names of its packages."""
    does: str


#: What every training imports.
TRAINING = (
    "torch", "transformers", "trl", "accelerate", "datasets", "peft", "pyarrow", "pydantic",
    "tensorboardX",
)  # fmt: skip
#: In the order in which they run: the cheap and most informative ones first.
PARTS = (
    Part("node_probe", 60, ("torch", "triton", "pydantic"), "driver, compiler, GPU, its own speed"),
    Part("capped", 80, ("torch", "transformers"), "backward pass of flex attention with a cap"),
    Part("memory", 80, TRAINING, "memory of a training, estimated and measured"),
    Part("training", 170, TRAINING, "tokens/s and MFU of sft by batches and attention"),
    Part("scoring", 40, ("torch", "transformers"), "questions with four choices a second"),
    Part("merging", 50, ("torch", "transformers", "mergekit"), "slerp of two checkpoints"),
)


def chosen(names: list[str]) -> list[Part]:
    """Return the parts with these names, in their order; all without names."""
    return [part for part in PARTS if not names or part.name in names]

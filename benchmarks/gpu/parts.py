"""The parts of the measurement: what each does, how long it may take, and what it needs."""

from typing import NamedTuple

#: Seconds in which all parts have ended on a GPU, the starts of their processes among them.
WHOLE_LIMIT_S = 480
#: On CPUs all is small, and what takes long is other work on the same machine.
THIN_LEISURE = 4


class Part(NamedTuple):
    """One part: a module of this package with a function `run`."""

    name: str
    """Of the module, and in the figures."""
    limit_s: int
    """Seconds after which it is ended, with what it has found until then."""
    packages: tuple[str, ...]
    """Names under which its packages are imported."""
    does: str


#: What every training imports.
TRAINING = (
    "torch", "transformers", "trl", "accelerate", "datasets", "peft", "pyarrow", "pydantic",
    "tensorboardX",
)  # fmt: skip
#: In the order in which they run: what is cheap and tells most comes first.
PARTS = (
    Part("node_probe", 60, ("torch", "triton", "pydantic"), "driver, compiler, GPU, its own speed"),
    Part("capped", 80, ("torch", "transformers"), "backward pass of flex attention with a cap"),
    Part("memory", 80, TRAINING, "memory of a training, reckoned and measured"),
    Part("training", 170, TRAINING, "tokens/s and MFU of sft by batches and attention"),
    Part("scoring", 40, ("torch", "transformers"), "questions with four choices a second"),
    Part("merging", 50, ("torch", "transformers", "mergekit"), "slerp of two checkpoints"),
)


def chosen(names: list[str]) -> list[Part]:
    """The parts of these names, in their order; all where no name is given."""
    return [part for part in PARTS if not names or part.name in names]

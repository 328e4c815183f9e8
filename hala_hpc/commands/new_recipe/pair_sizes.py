"""Sizes with which the models of a recipe fit the GPUs, by the estimates of a dry run."""

from dataclasses import dataclass

from hala_hpc.commands.new_recipe.pair_request import PairRequest
from hala_hpc.commands.planning.plan_estimate import shipped_throughput
from hala_hpc.engines.models.memory import GB
from hala_hpc.engines.models.shape import read_shape
from hala_hpc.engines.training.rank_memory import find_fastest_option
from hala_hpc.engines.training.settings import TrainingSettings

#: Tokens of the longest row of a training.
MAX_ROW_TOKENS = 4096
#: Rows of a step of the paper's size; fewer GPUs make more passes, not smaller steps.
GLOBAL_BATCH_SIZE = 256
#: Share of a GPU for the weights of a model that generates: the rest is cache and workspace.
WEIGHT_SHARE = 0.75
#: GPUs that may share one copy of a model.
SPLITS = (1, 2, 4, 8)


@dataclass(frozen=True)
class PairSizes:
    """How the models of a recipe are placed on GPUs."""

    zero_stage: int
    gradient_checkpointing: bool
    training_problem: str
    """Why the training may not fit; empty if it does."""
    teacher_gpus: int
    """GPUs that share one copy of the teacher; 0 without one, or if it does not fit."""
    teacher_problem: str
    """Why there is no teacher; empty if there is one."""

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher writes pairs."""
        return self.teacher_gpus > 0


def fit_sizes(request: PairRequest) -> PairSizes:
    """The fastest sizes that fit, or why none is known to."""
    stage, checkpointing, training_problem = fit_training(request)
    gpus, teacher_problem = fit_teacher(request)
    return PairSizes(stage, checkpointing, training_problem, gpus, teacher_problem)


def fit_training(request: PairRequest) -> tuple[int, bool, str]:
    """Stage of ZeRO, checkpointing, and why it may not fit."""
    keys = shipped_throughput().shapes.get(request.base)
    shape = read_shape(keys)
    if shape is None:
        return 3, True, f"the shape of {request.base} is not known here: the dry run estimates it"
    settings = TrainingSettings(zero_stage=1, gradient_checkpointing=False)
    gpus = request.gpus
    ranks, memory_bytes = gpus.nodes * gpus.per_node, gpus.memory_gb * GB
    option = find_fastest_option(shape, settings, ranks, memory_bytes, MAX_ROW_TOKENS)
    if option is None:
        return 3, True, f"a training of {request.base} does not fit {gpus} GB: set lora_rank"
    return option.zero_stage, option.gradient_checkpointing, ""


def fit_teacher(request: PairRequest) -> tuple[int, str]:
    """GPUs for a copy of the teacher in FP8, a byte a weight; 0 with the reason."""
    name, gpus = request.teacher, request.gpus
    if not name:
        return 0, f"no teacher is known that supports {request.target.name}: teacher= names one"
    billions = shipped_throughput().models.get(name)
    if billions is None:
        return gpus.per_node, ""
    for split in SPLITS:
        if split <= gpus.per_node and billions <= split * gpus.memory_gb * WEIGHT_SHARE:
            return split, ""
    return 0, f"{name} in FP8 takes {billions:.0f} GB: more than {gpus.per_node} GPUs have"

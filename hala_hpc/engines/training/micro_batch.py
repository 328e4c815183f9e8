"""Choose the padded tokens of a pass if the settings leave that open."""

from hala_hpc.engines.training.dataset import read_facts
from hala_hpc.engines.training.passes import (
    CPU_PASS_COST_TOKENS,
    GPU_PASS_COST_TOKENS,
    StepCut,
)
from hala_hpc.engines.training.rank_memory import fitting_micro_batch_tokens
from hala_hpc.engines.training.settings import MIN_PASS_TOKENS
from hala_hpc.engines.training.tokens.names import TokenFacts
from hala_hpc.engines.training.training_run import Training

#: On a CPU a pass has little fixed cost, and larger passes do not fit its caches. With a real
#: vocabulary (65,536 tokens) the logits and what is computed from them take 1.6 GB in float32.
CPU_MICRO_BATCH_TOKENS = 2048


def longest_row(facts: TokenFacts) -> int:
    """Return the tokens of the longest row or packed sequence; if not counted, `max_length`."""
    return facts.max_length if facts.packing else facts.length_max or facts.max_length


def choose_micro_batch_tokens(training: Training, ranks: int) -> int:
    """Return the maximum padded tokens of a pass: the setting, else what fits the GPU's memory.

    Raises: UserError (CONFIG) if not even one row fits beside the model.
    """
    import torch

    settings = training.settings
    if settings.micro_batch_tokens is not None:
        return settings.micro_batch_tokens
    row_tokens = longest_row(read_facts(training.tokens))
    tokens = CPU_MICRO_BATCH_TOKENS
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        tokens = fitting_micro_batch_tokens(training.model, settings, ranks, memory, row_tokens)
    # A step has no more tokens than these: otherwise halving might have no effect.
    tokens = min(tokens, settings.global_batch_size // ranks * row_tokens)
    return max(tokens >> settings.micro_batch_halvings, MIN_PASS_TOKENS)


def make_step_cut(ranks: int, tokens: int) -> StepCut:
    """Return how a step is split into passes of at most `tokens` padded tokens on all ranks."""
    import torch

    cost = GPU_PASS_COST_TOKENS if torch.cuda.is_available() else CPU_PASS_COST_TOKENS
    return StepCut(ranks, tokens, cost)

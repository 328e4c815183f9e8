"""Check that packed rows stay separate in a model: by its config, and by a trial."""

import importlib.util
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import UserError
from hala_hpc.engines.models.architecture import STATE_LAYERS
from hala_hpc.engines.models.attention import is_padding_free, read_running_attention
from hala_hpc.engines.models.files import read_model_config

#: The package whose convolutions respect the borders of rows; otherwise transformers uses its own.
KERNELS = "causal_conv1d"
#: Largest dependence, as `measure_leak` returns it, that counts as none. Attention alone has
#: exactly 0; LFM2's convolutions in plain torch have 2e-4 with random weights and far more with
#: real ones.
LEAK = 1e-5
#: Type of the trial with kernels that do not support float32, and its largest rounding error: half
#: of the last of its 8 binary digits.
LAID_OUT_DTYPE = "bfloat16"
LAID_OUT_LEAK = 2**-9
FIX = "use packing=false in the tokenize node (group_by_length saves most of the padding)"
#: Tokens of each of the two rows of the trial.
TRIAL_TOKENS = 24


def packing_faults(place: str, model: str) -> list[str]:
    """Return a line if, by the config of a model, packed rows leak here. For login nodes.

    `place` is its folder as named by the inputs of the stage; a folder that does not exist yet is
    not checked. `model` is the value of the setting.
    """
    config = read_model_config(place)
    kinds = [kind for kind in config.get("layer_types") or [] if kind in STATE_LAYERS]
    if config.get("model_type") == "lfm2":
        kinds = kinds or ["conv"]
    if not kinds or importlib.util.find_spec(KERNELS):
        return []
    return [
        f"packing=true: {model} has layers of kind {kinds[0]}, and without {KERNELS} rows of one "
        f"sequence leak into each other; {FIX}"
    ]


def refuse_leak(model: Path, attention: str | None) -> None:
    """Run a trial of packed rows on this machine. Raises: UserError if they leak.

    `attention` is the value of `attn_implementation` for transformers.
    """
    leak = measure_leak(model, attention)
    if leak > (LAID_OUT_LEAK if attention and is_padding_free(attention) else LEAK):
        raise UserError(
            f"packing=true: in a trial on this machine the logits of a row of {model} changed by "
            f"{leak:.1e} of the largest with another row before it in its sequence: rows "
            f"leak into each other; {FIX}"
        )


def measure_leak(model: Path, attention: str | None = None) -> float:
    """Return how far the logits of a row depend on the row before it, by the largest logit.

    A batch holds the same row after two other rows: if rows stay separate, its logits are equal
    twice. The trial uses the first layers of the real model, enough to include every kind of
    layer, on the device of this rank, with the kernels and the batch layout of the training. It
    computes in float32 unless the kernel does not support that.
    """
    import torch

    from hala_hpc.engines.training.dataset import make_collator

    tried = first_layers(model, attention)
    generator = torch.Generator().manual_seed(0)
    shape = (3, TRIAL_TOKENS)
    one, other, row = torch.randint(tried.config.vocab_size, shape, generator=generator).tolist()
    sizes = {"seq_lengths": [TRIAL_TOKENS, TRIAL_TOKENS]}
    lines = [{"input_ids": line, "labels": line, **sizes} for line in (one + row, other + row)]
    batch = make_collator(0, is_padding_free(read_running_attention(tried)))(lines)
    del batch["labels"]
    with torch.no_grad():
        placed = {
            name: value.to(tried.device) if torch.is_tensor(value) else value
            for name, value in batch.items()
        }
        logits = tried(**placed, use_cache=False).logits.float().cpu()
    # Free the GPU's memory for the training.
    del tried, placed
    torch.cuda.empty_cache()
    ends = logits.reshape(len(lines), 2 * TRIAL_TOKENS, -1)[:, TRIAL_TOKENS:]
    return float((ends[0] - ends[1]).abs().max() / ends.abs().max())


def first_layers(model: Path, attention: str | None) -> Any:
    """Load the first layers of a model, at least one of each kind, in eval mode."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, logging

    config = AutoConfig.from_pretrained(model)
    kinds: list[str] = getattr(config, "layer_types", None) or ["full_attention"]
    config.num_hidden_layers = max(kinds.index(kind) for kind in kinds) + 1
    if getattr(config, "layer_types", None):
        config.layer_types = kinds[: config.num_hidden_layers]
    verbosity = logging.get_verbosity()
    # transformers would list the weights of all other layers.
    logging.set_verbosity_error()
    try:
        tried = AutoModelForCausalLM.from_pretrained(
            model,
            config=config,
            dtype=LAID_OUT_DTYPE if attention and is_padding_free(attention) else "float32",
            attn_implementation=attention,
        )
    finally:
        logging.set_verbosity(verbosity)
    return tried.to("cuda" if torch.cuda.is_available() else "cpu").eval()

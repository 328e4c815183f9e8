"""Whether rows that share a sequence stay apart in a model: told from its config, and tried."""

import importlib.util
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import UserError
from hala_hpc.engines.models.architecture import STATE_LAYERS
from hala_hpc.engines.models.attention import is_padding_free, read_running_attention
from hala_hpc.engines.models.files import read_model_config

#: The package whose convolutions heed the borders of rows; without it transformers' own are used.
KERNELS = "causal_conv1d"
#: Largest dependence that is taken for none, as `measure_leak` measures it. Attention alone has exactly
#: 0; LFM2's convolutions in plain torch have 2e-4 with random weights and far more with real ones.
LEAK = 1e-5
#: Type of the trial with kernels that take no float32, and what its rounding may come to: half of
#: the last of its 8 binary digits.
LAID_OUT_DTYPE = "bfloat16"
LAID_OUT_LEAK = 2**-9
FIX = "use packing=false in the tokenize node (group_by_length saves most of the padding)"
#: Tokens of each of two rows of the trial.
TRIAL_TOKENS = 24


def packing_faults(place: str, model: str) -> list[str]:
    """A line when the config of a model tells that packed rows leak here. For login nodes.

    `place`: its folder, as the inputs of the stage name it; nothing is known of what is none yet.
    `model`: what the setting names it.
    """
    config = read_model_config(place)
    kinds = [kind for kind in config.get("layer_types") or [] if kind in STATE_LAYERS]
    if config.get("model_type") == "lfm2":
        kinds = kinds or ["conv"]
    if not kinds or importlib.util.find_spec(KERNELS):
        return []
    return [
        f"packing=true: {model} has layers of kind {kinds[0]}, through which rows of one sequence "
        f"leak into each other where {KERNELS} is not installed; {FIX}"
    ]


def refuse_leak(model: Path, attention: str | None) -> None:
    """Try two rows packed and apart on this machine; raise UserError when they differ.

    `attention` is what the training gives to transformers as `attn_implementation`.
    """
    leak = measure_leak(model, attention)
    if leak > (LAID_OUT_LEAK if attention and is_padding_free(attention) else LEAK):
        raise UserError(
            f"packing=true: tried on this machine, the logits of a row of {model} change by "
            f"{leak:.1e} of the largest when another row stands before it in its sequence: rows "
            f"leak into each other; {FIX}"
        )


def measure_leak(model: Path, attention: str | None = None) -> float:
    """How far the logits of a row depend on the row before it, as a share of the largest logit.

    One row is put after two others in one batch: where rows stay apart its logits are the same
    twice. The first layers of the real model are tried, as many as have every kind of layer among
    them, on the device of this rank: with the kernels that training will use, and laid out as
    there. In float32 unless the kernel takes none.
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
    # The GPU's memory is for the training.
    del tried, placed
    torch.cuda.empty_cache()
    ends = logits.reshape(len(lines), 2 * TRIAL_TOKENS, -1)[:, TRIAL_TOKENS:]
    return float((ends[0] - ends[1]).abs().max() / ends.abs().max())


def first_layers(model: Path, attention: str | None) -> Any:
    """The beginning of a model, one layer of each kind at least, ready to be asked."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, logging

    config = AutoConfig.from_pretrained(model)
    kinds: list[str] = getattr(config, "layer_types", None) or ["full_attention"]
    config.num_hidden_layers = max(kinds.index(kind) for kind in kinds) + 1
    if getattr(config, "layer_types", None):
        config.layer_types = kinds[: config.num_hidden_layers]
    verbosity = logging.get_verbosity()
    # It would list the weights of all other layers.
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

"""The kernel of attention that a model is loaded with: one that computes what its config means.

Some models cap the logits of their attention, `cap * tanh(logit / cap)` with the cap
`attn_logit_softcapping` of the config (Gemma 2, arXiv 2408.00118). transformers 5.19 loads them
with torch's sdpa like all others, which drops the cap without a word, while vLLM applies it. All
that is loaded to be trained or scored with transformers is loaded with `choose_attention`.
"""

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.models.files import read_model_config

AUTO, EAGER, SDPA, FLEX = "auto", "eager", "sdpa", "flex_attention"
#: What `attention` may be, besides a kernel of the hub.
NAMES = (AUTO, EAGER, SDPA, FLEX, "flash_attention_2", "flash_attention_3")
#: Chosen by `auto` for models with a cap where it can be had; it has a backward pass.
FLASH = "flash_attention_2"
#: A kernel of the hub as transformers names it: `owner/kernel`, `owner/kernel@revision`.
HUB_KERNEL = r"[\w.-]+/[\w.-]+(@[\w.-]+)?"
#: The key of a config that holds the cap.
CAP_KEY = "attn_logit_softcapping"
#: What a class of transformers says of the kernels that it was written for; others are flash.
SUPPORT = {SDPA: "_supports_sdpa", FLEX: "_supports_flex_attn"}
#: Types that kernels of flash attention compute in.
HALF = ("bfloat16", "float16")


def validate_attention(value: str) -> str:
    """A value of the setting `attention`. Raises ValueError for any other."""
    if value not in NAMES and not re.fullmatch(HUB_KERNEL, value):
        raise ValueError(f"give one of {', '.join(NAMES)}, or a kernel of the hub, owner/kernel")
    return value


Attention = Annotated[str, AfterValidator(validate_attention)]
"""`auto`, a kernel of attention by its name in transformers, or one of the hub."""


class AttentionUse(NamedTuple):
    """What a model is loaded for."""

    device: str
    """`cuda` or `cpu`."""
    dtype: str
    """Type that attention computes in; `auto` is that of the config."""
    trains: bool
    """Whether there are backward passes."""


def may_load_from_hub(name: str) -> bool:
    """Whether a kernel may have to come from the hub: one by name, or of flash attention."""
    return "/" in name or name.startswith("flash")


def attention_faults(models: Mapping[str, str], wanted: str) -> list[str]:
    """A line for each model whose cap a kernel would leave out. For login nodes: JSON is read.

    `models` are folders and hub ids by the settings that name them. Nothing is known of one that is
    not on the disk yet.
    """
    if wanted != SDPA:
        return []
    caps = {setting: stated_cap(read_model_config(model)) for setting, model in models.items()}
    return [
        f"{setting}={models[setting]}: {describe_missing_cap(wanted, cap)}"
        for setting, cap in caps.items()
        if cap is not None
    ]


def stated_cap(config: dict[str, Any]) -> float | None:
    """The cap in the JSON of a config."""
    text: dict[str, Any] = config.get("text_config") or config
    return text.get(CAP_KEY)


def describe_missing_cap(name: str, cap: float) -> str:
    """What is wrong with a kernel that leaves out the cap, and the cure."""
    return (
        f"attention={name} leaves out the cap of its attention ({CAP_KEY}={cap}), which vLLM "
        f"applies: it would be another model; use attention={AUTO}, or {EAGER}, or {FLEX} on GPUs"
    )


def choose_attention(config: Any, wanted: str, use: AttentionUse) -> str | None:
    """What `from_pretrained` gets as `attn_implementation`; None leaves it to transformers.

    `config` is transformers' own of the model, `wanted` the setting. Raises UserError (78) where
    the model would be another one with that kernel, or the kernel cannot run here.
    """
    cap = read_softcap(config)
    if wanted == AUTO:
        return None if cap is None else choose_capping_kernel(config, use)
    if cap is not None and wanted == SDPA:
        raise UserError(describe_missing_cap(wanted, cap), CONFIG)
    if not supports(config, wanted):
        raise UserError(
            f"attention={wanted}: transformers has models of type {config.model_type} without it; "
            f"use attention={AUTO}",
            CONFIG,
        )
    if wanted == FLEX and use.trains and use.device == "cpu":
        raise UserError(
            f"attention={FLEX} trains on GPUs only: torch has no backward pass of it for CPUs; use "
            f"attention={AUTO} or {EAGER}",
            CONFIG,
        )
    if is_flash(wanted):
        require_flash(config, wanted, use, cap)
    return wanted


def read_softcap(config: Any) -> float | None:
    """The cap of a config of transformers; None where the logits are taken as they are."""
    return getattr(config.get_text_config(), CAP_KEY, None)


def choose_capping_kernel(config: Any, use: AttentionUse) -> str:
    """The fastest kernel that applies a cap: flash attention where it is there, else flex.

    Eager on CPUs, where flex has no backward pass and has to be compiled.
    """
    if use.device == "cpu":
        return EAGER
    if attention_dtype(config, use) in HALF and supports(config, FLASH) and has_capping_flash():
        return FLASH
    return FLEX if supports(config, FLEX) else EAGER


def is_flash(name: str) -> bool:
    """Whether a kernel comes from a package of flash attention or from the hub."""
    return name not in (EAGER, SDPA, FLEX)


def supports(config: Any, name: str) -> bool:
    """Whether the model's class in transformers was written for a kernel; eager always is."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if name == EAGER:
        return True
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return bool(getattr(model, SUPPORT.get(name, "_supports_flash_attn"), True))


def attention_dtype(config: Any, use: AttentionUse) -> str:
    """Type that attention computes in, e.g. `bfloat16`; `None` where the config does not say it."""
    return str(config.dtype).removeprefix("torch.") if use.dtype == AUTO else use.dtype


def require_flash(config: Any, name: str, use: AttentionUse, cap: float | None) -> None:
    """Raise UserError (78) unless a kernel of flash attention can be used as the model means it."""
    if name in NAMES and use.device == "cpu":
        raise UserError(f"attention={name} needs a GPU, and there is none; use {AUTO}", CONFIG)
    if name in NAMES and (dtype := attention_dtype(config, use)) not in HALF:
        raise UserError(
            f"attention={name} computes in bfloat16 or float16, not in {dtype}; set "
            f"dtype=bfloat16, or attention={AUTO}",
            CONFIG,
        )
    try:
        function = flash_function(name)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(
            f"attention={name} cannot be loaded: {error}; install flash-attn, or the package "
            f"kernels with the kernel in the hub cache, in the environment main, or use {AUTO}",
            CONFIG,
        ) from error
    if cap is not None and not accepts_softcap(function):
        raise UserError(describe_missing_cap(name, cap), CONFIG)


def has_capping_flash() -> bool:
    """Whether flash attention, of its package or fetched from the hub, is there and takes a cap."""
    try:
        return accepts_softcap(flash_function(FLASH))
    except (ImportError, ValueError, OSError):
        return False


def flash_function(name: str) -> Callable[..., Any] | None:
    """The function for rows laid end to end that transformers gets for a kernel's name.

    Where a package is not there transformers takes the hub's kernel of the same algorithm, and so
    does this. None for a kernel that has another. Raises what its import raises.
    """
    from transformers import modeling_flash_attention_utils as flash

    version = name.removeprefix("flash_attention_")
    known = flash.FLASH_ATTENTION_COMPATIBILITY_MATRIX
    if version.isdigit() and not known[int(version)]["general_availability_check"]():
        name = flash.FLASH_ATTN_KERNEL_FALLBACK[name]
    functions, _ = flash.lazy_import_flash_attention(name)
    found: Callable[..., Any] | None = functions[1]
    return found


def accepts_softcap(function: Callable[..., Any] | None) -> bool:
    """Whether transformers hands a cap to a function: it drops arguments that one does not name."""
    return function is not None and "softcap" in signature(function).parameters


def read_running_attention(model: Any) -> str:
    """The kernel that the layers of a loaded model ask for in each pass."""
    return str(model.config.get_text_config()._attn_implementation)


def is_padding_free(name: str) -> bool:
    """Whether a kernel gets rows end to end with their borders, as those of flash attention do.

    Other kernels get a mask. That of flex attention says the same of blocks of 128 tokens, so that
    lines of packed rows cost it no more; one of all lines would grow with their square.
    """
    from transformers import masking_utils

    known = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    return name in known and known[name] is masking_utils.flash_attention_mask

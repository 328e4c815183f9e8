"""Choose an attention kernel for a model that computes what its config specifies.

Some models cap the logits of their attention, `cap * tanh(logit / cap)` with the cap
`attn_logit_softcapping` of the config (Gemma 2, arXiv 2408.00118). transformers 5.19 loads them
with torch's sdpa like all others, which silently drops the cap, while vLLM applies it. Every model
that transformers trains or scores is loaded with `choose_attention`.
"""

import re
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.models.files import read_model_config

AUTO, EAGER, SDPA, FLEX = "auto", "eager", "sdpa", "flex_attention"
#: Values of `attention`, besides kernels of the hub.
NAMES = (AUTO, EAGER, SDPA, FLEX, "flash_attention_2", "flash_attention_3")
#: Chosen by `auto` for models with a cap, if available; it has a backward pass.
FLASH = "flash_attention_2"
#: A kernel of the hub as transformers names it: `owner/kernel`, `owner/kernel@revision`.
HUB_KERNEL = r"[\w.-]+/[\w.-]+(@[\w.-]+)?"
#: The key of a config that holds the cap.
CAP_KEY = "attn_logit_softcapping"
#: Attributes of transformers' classes for the kernels that they support; others are flash.
SUPPORT = {SDPA: "_supports_sdpa", FLEX: "_supports_flex_attn"}
#: Types supported by kernels of flash attention.
HALF = ("bfloat16", "float16")


def validate_attention(value: str) -> str:
    """Validate the setting `attention`. Raises: ValueError if it is unknown."""
    if value not in NAMES and not re.fullmatch(HUB_KERNEL, value):
        raise ValueError(f"give one of {', '.join(NAMES)}, or a kernel of the hub, owner/kernel")
    return value


Attention = Annotated[str, AfterValidator(validate_attention)]
"""`auto`, an attention kernel by its name in transformers, or one of the hub."""


class AttentionUse(NamedTuple):
    """Purpose and device for which a model is loaded."""

    device: str
    """`cuda` or `cpu`."""
    dtype: str
    """Type in which attention computes; `auto` is that of the config."""
    trains: bool
    """Whether there are backward passes."""


def may_load_from_hub(name: str) -> bool:
    """Whether a kernel may be loaded from the hub: a hub name, or flash attention."""
    return "/" in name or name.startswith("flash")


def attention_faults(models: Mapping[str, str], wanted: str) -> list[str]:
    """Return a line for each model whose cap the kernel would drop. Only JSON is read: login nodes.

    `models` are folders and hub ids by the settings that name them. A model that is not on the disk
    yet is not checked.
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
    """Return the cap in the JSON of a config; None if there is none."""
    text: dict[str, Any] = config.get("text_config") or config
    return text.get(CAP_KEY)


def describe_missing_cap(name: str, cap: float) -> str:
    """Describe the problem of a kernel that drops the cap, with the fix."""
    return (
        f"attention={name}: it drops the cap of the attention logits ({CAP_KEY}={cap}), which vLLM "
        f"applies, so the model would differ; set attention={AUTO}, or {EAGER}, or {FLEX} on GPUs"
    )


def choose_attention(config: Any, wanted: str, use: AttentionUse) -> str | None:
    """Return `attn_implementation` for `from_pretrained`; None: transformers' default.

    `config` is transformers' config of the model, `wanted` the setting.

    Raises: UserError (CONFIG) if the kernel would change what the model computes, or cannot run.
    """
    cap = read_softcap(config)
    if wanted == AUTO:
        return None if cap is None else choose_capping_kernel(config, use)
    if cap is not None and wanted == SDPA:
        raise UserError(describe_missing_cap(wanted, cap), CONFIG)
    if not supports(config, wanted):
        raise UserError(
            f"attention={wanted}: transformers does not support it for models of type "
            f"{config.model_type}; set attention={AUTO}",
            CONFIG,
        )
    if wanted == FLEX and use.trains and use.device == "cpu":
        raise UserError(
            f"attention={FLEX}: it trains on GPUs only, as torch has no backward pass of it for "
            f"CPUs; set attention={AUTO} or {EAGER}",
            CONFIG,
        )
    if is_flash(wanted):
        require_flash(config, wanted, use, cap)
    return wanted


def read_softcap(config: Any) -> float | None:
    """Return the cap of a transformers config; None without soft-capping."""
    return getattr(config.get_text_config(), CAP_KEY, None)


def choose_capping_kernel(config: Any, use: AttentionUse) -> str:
    """Return the fastest kernel that applies a cap: flash attention if available, else flex.

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
    """Whether the model's class in transformers supports a kernel; eager is always supported."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if name == EAGER:
        return True
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return bool(getattr(model, SUPPORT.get(name, "_supports_flash_attn"), True))


def attention_dtype(config: Any, use: AttentionUse) -> str:
    """Return the type in which attention computes, e.g. `bfloat16`; `None` if not in the config."""
    return str(config.dtype).removeprefix("torch.") if use.dtype == AUTO else use.dtype


def require_flash(config: Any, name: str, use: AttentionUse, cap: float | None) -> None:
    """Check that flash attention can run the model. Raises: UserError (CONFIG) if it cannot."""
    if name in NAMES and use.device == "cpu":
        raise UserError(f"attention={name}: there is no GPU; set attention={AUTO}", CONFIG)
    if name in NAMES and (dtype := attention_dtype(config, use)) not in HALF:
        raise UserError(
            f"attention={name}: it computes in bfloat16 or float16, not in {dtype}; set "
            f"dtype=bfloat16, or attention={AUTO}",
            CONFIG,
        )
    try:
        function = flash_function(name)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(
            f"attention={name}: it cannot be loaded: {error}; in the environment main install "
            f"flash-attn, or the package kernels with the kernel in the hub cache; or set "
            f"attention={AUTO}",
            CONFIG,
        ) from error
    if cap is not None and not accepts_softcap(function):
        raise UserError(describe_missing_cap(name, cap), CONFIG)


def has_capping_flash() -> bool:
    """Whether flash attention, as a package or from the hub cache, exists and supports a cap."""
    try:
        return accepts_softcap(flash_function(FLASH))
    except (ImportError, ValueError, OSError):
        return False


def flash_function(name: str) -> Callable[..., Any] | None:
    """Return the function for padding-free rows that transformers loads for a kernel's name.

    Without the package transformers uses the hub's kernel of the same algorithm, and so does this.
    None for a kernel that has no such function. Raises what its import raises.
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
    """Whether transformers passes a cap to a function: only arguments named in its signature."""
    return function is not None and "softcap" in signature(function).parameters


def read_running_attention(model: Any) -> str:
    """Return the kernel that the layers of a loaded model use in each pass."""
    return str(model.config.get_text_config()._attn_implementation)


def is_padding_free(name: str) -> bool:
    """Whether a kernel gets concatenated rows with their borders, as those of flash attention do.

    Other kernels get a mask. That of flex attention describes blocks of 128 tokens, so rows of
    packed examples cost no more; one mask over all rows would grow with the square of their length.
    """
    from transformers import masking_utils

    known = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    return name in known and known[name] is masking_utils.flash_attention_mask

"""LoRA (Hu et al. 2021): small matrices are trained beside the weights, and added to them after."""

from typing import Any

from hala_hpc.engines.training_settings import TrainingSettings

PREFIX = "base_model.model."


def low_rank_config(settings: TrainingSettings) -> Any:
    """What peft is told; None where all weights are trained."""
    if not settings.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.lora_targets,
        task_type="CAUSAL_LM",
    )


def merged(weights: dict[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """The weights of the plain model: W + alpha / rank * B A, added in float32.

    `weights` is the state of the peft model, whole (gathered from all ranks).
    """
    if not settings.lora_rank:
        return weights
    scale = settings.lora_alpha / settings.lora_rank
    plain = {}
    for name, tensor in weights.items():
        if ".lora_" in name:
            continue
        stem = name.removesuffix(".base_layer.weight")
        if stem != name:
            down = weights[f"{stem}.lora_A.default.weight"].float()
            up = weights[f"{stem}.lora_B.default.weight"].float()
            whole = (tensor.float() + scale * (up @ down)).to(tensor.dtype)
        else:
            whole = tensor
        plain[name.removeprefix(PREFIX).replace(".base_layer.", ".")] = whole
    return plain

"""LoRA (Hu et al. 2021): small matrices are trained beside the weights and merged at the end."""

import re
from pathlib import Path
from typing import Any

from hala_hpc.engines.models.files import find_folder
from hala_hpc.engines.models.tensors import tensor_headers
from hala_hpc.engines.models.vocabulary import is_embedding_table
from hala_hpc.engines.training.settings import TrainingSettings

#: peft's prefix of the names of the weights, and its name of the adapter that is trained.
PREFIX = "base_model.model."
ADAPTER = "default"
HEAD = "lm_head"


def lora_faults(model: str | Path, settings: TrainingSettings) -> list[str]:
    """Return a line for each LoRA target that `merge_lora_weights` cannot merge.

    `model` is its folder as named by the inputs of the stage; a folder that does not exist yet
    is not checked.
    """
    folder = find_folder(model)
    if not settings.lora_rank or settings.lora_targets == "all-linear" or folder is None:
        return []
    headers = tensor_headers(folder)
    shapes = {name.removesuffix(".weight"): header.shape for name, header in headers.items()}
    wrong = {
        "is an embedding": [name for name in shapes if is_embedding_table(name)],
        "is not a matrix": [name for name, shape in shapes.items() if len(shape) != 2],
        # Its LoRA matrices would be lost: only the embedding is saved.
        "is tied to the embedding": [HEAD] if HEAD not in shapes else [],
    }
    return [
        f"lora_targets={settings.lora_targets}: {name} {why}, and its LoRA matrices cannot be "
        "merged into the weights; name linear layers, or set lora_targets=all-linear"
        for why, names in wrong.items()
        # One line is enough: the layers are alike.
        for name in [one for one in names if is_target(one, settings.lora_targets)][:1]
    ]


def is_target(module: str, targets: str | list[str]) -> bool:
    """Whether peft targets a module: by a regular expression, or by the end of its name."""
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith(f".{target}") for target in targets)


def make_lora_config(settings: TrainingSettings) -> Any:
    """Return the configuration for peft; None if all weights are trained."""
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


def merge_lora_weights(weights: dict[str, Any], model: Any) -> dict[str, Any]:
    """The weights of the plain model: W + alpha / rank * B A, added in float32.

    `weights` is the complete state of the peft model `model`, gathered from all ranks. peft's
    `merge_and_unload` is not used: it adds to the weights inside the model, which ZeRO-3 has
    sharded over the ranks. A second model would have to be built for the gathered weights.
    `lora_faults` refuses targets for which this sum is incomplete.
    """
    plain = {}
    for name, tensor in weights.items():
        if ".lora_" in name:
            continue
        stem = name.removesuffix(".base_layer.weight")
        whole = tensor
        if stem != name:
            layer = model.get_submodule(stem)
            down = weights[f"{stem}.lora_A.{ADAPTER}.weight"].float()
            up = weights[f"{stem}.lora_B.{ADAPTER}.weight"].float()
            update = layer.scaling[ADAPTER] * (up @ down)
            # GPT-2 stores its matrices transposed.
            update = update.T if layer.fan_in_fan_out else update
            whole = (tensor.float() + update).to(tensor.dtype)
        plain[name.removeprefix(PREFIX).replace(".base_layer.", ".")] = whole
    return plain

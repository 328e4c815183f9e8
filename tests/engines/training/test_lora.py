"""LoRA's matrices are merged into the weights as peft itself merges them."""

from typing import Any

import pytest

from hala_hpc.engines.training.lora import make_lora_config, merge_lora_weights
from hala_hpc.engines.training.settings import TrainingSettings


def tiny_llama() -> Any:
    """Layers of torch's own kind."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, num_attention_heads=2, **sizes))


def tiny_gpt2() -> Any:
    """Layers with transposed matrices, and with biases."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2))


@pytest.mark.parametrize("make_model", [tiny_llama, tiny_gpt2])
def test_the_merged_weights_are_those_that_peft_would_make(make_model: Any) -> None:
    import torch
    from peft import get_peft_model

    torch.manual_seed(0)
    settings = TrainingSettings(lora_rank=4, lora_alpha=12)
    model = get_peft_model(make_model(), make_lora_config(settings))
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight)
    found = merge_lora_weights(dict(model.state_dict()), model)
    wanted = model.merge_and_unload().state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)

"""Configs and tokens that the paper's models publish with their weights, with smaller numbers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

#: Tokens of a sliding window, and of the context.
WINDOW_TOKENS, CONTEXT_TOKENS = 64, 2048


class Added(NamedTuple):
    """An added token, and whether the tokenizer marks it as special."""

    content: str
    special: bool


def special(*contents: str) -> tuple[Added, ...]:
    """Added tokens that `skip_special_tokens` skips."""
    return tuple(Added(content, True) for content in contents)


def plain(*contents: str) -> tuple[Added, ...]:
    """Added tokens that it does not skip."""
    return tuple(Added(content, False) for content in contents)


@dataclass(frozen=True)
class Family:
    """Config and tokens that a family of models publishes with its weights."""

    config: dict[str, Any]
    """config.json; token ids are filled in."""
    generation: dict[str, Any]
    """Keys of generation_config.json other than token ids."""
    before: tuple[Added, ...]
    """Added tokens with the first ids."""
    after: tuple[Added, ...]
    """Those with ids beyond the trained vocabulary."""
    named: dict[str, str]
    """`bos_token` and others; a text begins with `bos_token` if there is one."""
    ends: tuple[str, ...]
    """Tokens that end an answer, as `eos_token_id` has them."""
    also_special: tuple[str, ...]
    """`additional_special_tokens`."""
    template: str
    """File name of TRL's copy of the chat template."""
    tokenizer_class: str

    @property
    def added(self) -> tuple[Added, ...]:
        """All added tokens in the order of their ids."""
        return self.before + self.after


#: LFM2-1.2B: every width an eighth; four of the sixteen layers, with the first attention layer.
LFM2 = Family(
    config={
        "architectures": ["Lfm2ForCausalLM"],
        "block_auto_adjust_ff_dim": True,
        "block_dim": 256,
        "block_ff_dim": 1536,
        "block_ffn_dim_multiplier": 1.0,
        "block_mlp_init_scale": 1.0,
        "block_multiple_of": 256,
        "block_norm_eps": 1e-5,
        "block_out_init_scale": 1.0,
        "block_use_swiglu": True,
        "block_use_xavier_init": True,
        "conv_L_cache": 3,
        "conv_bias": False,
        "conv_dim": 256,
        "conv_dim_out": 256,
        "conv_use_xavier_init": True,
        "full_attn_idxs": [2],
        "hidden_size": 256,
        "initializer_range": 0.02,
        "max_position_embeddings": CONTEXT_TOKENS,
        "model_type": "lfm2",
        "norm_eps": 1e-5,
        "num_attention_heads": 4,
        "num_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 1,
        "rope_theta": 1000000.0,
        "theta": 1000000.0,
        "tie_embedding": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_pos_enc": True,
    },
    generation={"_from_model_config": True},
    before=special(
        "<|pad|>",
        "<|startoftext|>",
        "<|endoftext|>",
        "<|fim_pre|>",
        "<|fim_mid|>",
        "<|fim_suf|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|tool_list_start|>",
        "<|tool_list_end|>",
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        "<|tool_response_start|>",
        "<|tool_response_end|>",
    ),
    after=(),
    named={"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"},
    ends=("<|im_end|>",),
    also_special=(),
    template="lfm2_v2.jinja",
    tokenizer_class="PreTrainedTokenizerFast",
)
#: Changes that give it the shape of LFM2-350M: 354 million weights.
LFM2_350M: dict[str, Any] = {
    "block_dim": 1024,
    "block_ff_dim": 6656,
    "conv_dim": 1024,
    "conv_dim_out": 1024,
    "full_attn_idxs": [2, 5, 8, 10, 12, 14],
    "hidden_size": 1024,
    "max_position_embeddings": 128000,
    "num_attention_heads": 16,
    "num_heads": 16,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "vocab_size": 65536,
}
#: Command A: hidden width a 32nd, an eighth of the heads, a quarter of their width; one group of
#: three layers with a sliding window and one without.
COHERE2 = Family(
    config={
        "architectures": ["Cohere2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "cache_implementation": "hybrid",
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 384,
        "initializer_range": 0.02,
        "intermediate_size": 1152,
        "layer_norm_eps": 1e-5,
        "layer_switch": 4,
        "logit_scale": 0.25,
        "max_position_embeddings": CONTEXT_TOKENS,
        "model_type": "cohere2",
        "num_attention_heads": 12,
        "num_hidden_layers": 4,
        "num_key_value_heads": 1,
        "order_of_interleaved_layers": "local_attn_first",
        "position_embedding_type": "rope_gptj",
        "rope_scaling": None,
        "rope_theta": 50000,
        "rotary_pct": 1.0,
        "sliding_window": WINDOW_TOKENS,
        "sliding_window_pattern": 4,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_embedding_sharing": True,
        "use_gated_activation": True,
        "use_parallel_block": True,
        "use_parallel_embedding": True,
    },
    generation={"_from_model_config": True, "cache_implementation": "hybrid"},
    before=special("<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK_TOKEN>", "<BOS_TOKEN>", "<EOS_TOKEN>")
    + special("<EOP_TOKEN>"),
    # The first has the id 255000 in the published vocabulary; only the second is special.
    after=plain("<|START_OF_TURN_TOKEN|>")
    + special("<|END_OF_TURN_TOKEN|>")
    + plain("<|YES_TOKEN|>", "<|NO_TOKEN|>", "<|GOOD_TOKEN|>", "<|BAD_TOKEN|>")
    + plain("<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>")
    + plain(*(f"<|USER_{number}_TOKEN|>" for number in range(10)))
    + plain("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
    + plain("<|START_ACTION|>", "<|END_ACTION|>", "<|START_TOOL_RESULT|>", "<|END_TOOL_RESULT|>"),
    named={
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "pad_token": "<PAD>",
        "unk_token": "<UNK>",
        "cls_token": "<CLS>",
        "sep_token": "<SEP>",
        "mask_token": "<MASK_TOKEN>",
    },
    ends=("<|END_OF_TURN_TOKEN|>",),
    also_special=(),
    template="cohere2.jinja",
    tokenizer_class="CohereTokenizerFast",
)
#: Qwen2.5-7B: hidden width a 16th, a quarter of the heads and of their width; not tied.
QWEN2 = Family(
    config={
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 1184,
        "max_position_embeddings": CONTEXT_TOKENS,
        "max_window_layers": 4,
        "model_type": "qwen2",
        "num_attention_heads": 7,
        "num_hidden_layers": 4,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "sliding_window": 131072,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
    },
    generation={
        "do_sample": True,
        "repetition_penalty": 1.05,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
    },
    before=(),
    after=special("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    + special("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")
    + special("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>")
    + special("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    + plain("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
    + plain("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    named={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    ends=("<|im_end|>", "<|endoftext|>"),
    also_special=("<|im_start|>", "<|im_end|>"),
    template="qwen2_5.jinja",
    tokenizer_class="Qwen2Tokenizer",
)
#: Gemma 2 9B, the base of Fanar: hidden width a 16th, half of the heads, an eighth of their width;
#: alternating sliding windows, both logit caps, tied embeddings.
GEMMA2 = Family(
    config={
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "head_dim": 32,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 224,
        "initializer_range": 0.02,
        "intermediate_size": 896,
        "max_position_embeddings": CONTEXT_TOKENS,
        "model_type": "gemma2",
        "num_attention_heads": 8,
        "num_hidden_layers": 4,
        "num_key_value_heads": 4,
        "query_pre_attn_scalar": 32,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "sliding_window": WINDOW_TOKENS,
        "sliding_window_size": WINDOW_TOKENS,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    },
    generation={"_from_model_config": True, "cache_implementation": "hybrid"},
    before=special("<pad>", "<eos>", "<bos>", "<unk>")
    + plain("<mask>", "<2mass>", "[@BOS@]", "<unused0>", "<unused1>")
    + special("<start_of_turn>", "<end_of_turn>"),
    after=(),
    named={
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    },
    ends=("<eos>", "<end_of_turn>"),
    also_special=("<start_of_turn>", "<end_of_turn>"),
    template="gemma.jinja",
    # The published tokenizer is not byte-level: its class would split text differently from ours.
    tokenizer_class="PreTrainedTokenizerFast",
)
FAMILIES = {"lfm2": LFM2, "cohere2": COHERE2, "qwen2": QWEN2, "gemma2": GEMMA2}

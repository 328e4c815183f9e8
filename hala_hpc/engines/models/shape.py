"""The shape of a causal language model from its config.json: weights, FLOPs, layers.

Plain arithmetic without torch: a login node estimates with it before anything is fetched.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

#: Kinds of layers, as transformers names them in `layer_types`.
CONVOLUTION, SLIDING = "conv", "sliding_attention"
ATTENDING = ("full_attention", "attention", SLIDING)
#: Models with a norm of queries and keys (transformers 5.19).
QUERY_NORM_MODELS = ("lfm2", "qwen3", "gemma3", "gemma3_text", "olmo2")
#: Models with a norm before and after each half of a layer, computed in float32.
FOUR_NORM_MODELS = ("gemma2", "gemma3", "gemma3_text")
#: Config keys of mixture-of-experts models, which use some of their weights for a token: the sums
#: here do not apply.
EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
#: Families whose output head is tied to the embedding if config.json does not state it.
TIED_BY_DEFAULT = ("lfm2", "gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2")
#: Kernel size of a convolution of LFM2 (`conv_L_cache`).
CONVOLUTION_TAPS = 3


class ModelShape(NamedTuple):
    """Sizes of a dense causal model; widths are counted in elements."""

    family: str
    """`model_type` of config.json."""
    hidden: int
    intermediate: int
    """Width of the feed-forward layer, after all adjustments."""
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    attentions: int
    """Number of attention layers."""
    convolutions: int
    """Number of layers with a short convolution instead of attention (LFM2)."""
    sliding: int = 0
    """Number of attention layers with a sliding window."""
    window: int = 0
    """Tokens of the window."""
    tied: bool = True
    """Whether the output head is tied to the embedding."""
    soft_capped: bool = False
    """Whether attention scores are soft-capped with tanh."""
    is_float32: bool = False
    """Whether the checkpoint is stored in float32."""

    @property
    def layers(self) -> int:
        """Number of all layers."""
        return self.attentions + self.convolutions

    @property
    def query_width(self) -> int:
        """Width of the queries of a token."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of the keys of a token; the values have the same."""
        return self.kv_heads * self.head_dim

    @property
    def table(self) -> int:
        """Weights of the embedding."""
        return self.vocab * self.hidden

    @property
    def matrices(self) -> int:
        """Weights in matrix products of a token: all layers and the output head."""
        attention = self.hidden * (2 * self.query_width + 2 * self.key_width)
        # in_proj has three outputs for an input, out_proj one.
        convolution = 4 * self.hidden * self.hidden + CONVOLUTION_TAPS * self.hidden
        forward = self.layers * 3 * self.hidden * self.intermediate
        layers = self.attentions * attention + self.convolutions * convolution + forward
        return layers + self.table

    @property
    def weights(self) -> int:
        """All weights except those of the norms, which are too few to count."""
        return self.matrices + (0 if self.tied else self.table)

    def training_flops(self, row_tokens: float) -> float:
        """Return the FLOPs of forward and backward pass for a token in rows of `row_tokens` tokens.

        6 for each weight; for each attention layer 12 for each element of the queries and attended
        token (Chowdhery et al. 2022, PaLM, appendix B). Half of that counts, as no token attends to
        later ones. A window limits the attended tokens.
        """
        visible = row_tokens / 2
        in_window = min(visible, float(self.window)) if self.window else visible
        attended = (self.attentions - self.sliding) * visible + self.sliding * in_window
        return 6.0 * self.matrices + 12.0 * self.query_width * attended


def read_shape(config: Mapping[str, Any] | None) -> ModelShape | None:
    """Read the shape from a config.json; None if it is incomplete or a mixture of experts."""
    if config is None:
        return None
    text = {**config, **(config.get("text_config") or {})}
    family = str(text.get("model_type") or "")
    hidden, heads = text.get("hidden_size"), text.get("num_attention_heads")
    layers, vocab = text.get("num_hidden_layers"), text.get("vocab_size")
    inner = text.get("block_ff_dim") or text.get("intermediate_size")
    if not (hidden and heads and layers and vocab and inner):
        return None
    if any(text.get(key) for key in EXPERT_KEYS):
        return None
    kinds = layer_kinds(text, layers)
    attentions = sum(kind in ATTENDING for kind in kinds)
    convolutions = sum(kind == CONVOLUTION for kind in kinds)
    if attentions + convolutions < layers:
        return None
    by_default = family in TIED_BY_DEFAULT
    return ModelShape(
        family=family,
        hidden=hidden,
        intermediate=adjust_feed_forward_width(text, inner) if family == "lfm2" else inner,
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=text.get("head_dim") or hidden // heads,
        vocab=vocab,
        attentions=attentions,
        convolutions=convolutions,
        sliding=sum(kind == SLIDING for kind in kinds),
        window=text.get("sliding_window") or 0,
        tied=bool(text.get("tie_word_embeddings", text.get("tie_embedding", by_default))),
        soft_capped=bool(text.get("attn_logit_softcapping")),
        is_float32=str(text.get("dtype") or text.get("torch_dtype")) == "float32",
    )


def layer_kinds(text: Mapping[str, Any], layers: int) -> list[str]:
    """Return the kind of each layer; without `layer_types` as transformers derives it."""
    if stated := text.get("layer_types"):
        return list(stated)
    if text.get("model_type") == "gemma2":
        return [SLIDING if number % 2 == 0 else ATTENDING[0] for number in range(layers)]
    attending = text.get("full_attn_idxs")
    if attending is None:
        return [ATTENDING[0]] * layers
    return [ATTENDING[0] if number in attending else CONVOLUTION for number in range(layers)]


def adjust_feed_forward_width(text: Mapping[str, Any], inner: int) -> int:
    """Return LFM2's feed-forward width: two thirds, times a factor, rounded up (transformers)."""
    if not text.get("block_auto_adjust_ff_dim", True):
        return inner
    width = int(2 * inner / 3)
    factor = text.get("block_ffn_dim_multiplier", 1.0)
    if factor is not None:
        step = text.get("block_multiple_of") or 256
        width = -(-int(factor * width) // step) * step
    return width

"""Estimate the GPU memory of one forward and backward pass from the model's shape.

Counted are the tensors that autograd stores in the layers of transformers 5.19 without kernels of
other packages (Liger stores fewer). `tests/engines/training/test_rank_memory.py` compares the sums
with torch's own memory tracker.
"""

from typing import NamedTuple

from hala_hpc.engines.models.shape import FOUR_NORM_MODELS, QUERY_NORM_MODELS, ModelShape

FLOAT32 = 4
#: TRL's fused head computes logits in tiles of this many tokens and vocabulary entries (TRL 1.16,
#: `kernels/chunked_logprob.py` and `trainer/utils.py`).
HEAD_TOKENS, HEAD_VOCAB = 4096, 32768


class Pass(NamedTuple):
    """One forward and backward pass of a rank."""

    tokens: int
    """Tokens of all rows, with padding."""
    row_tokens: int
    """Tokens of a row with padding, which is the width of the attention mask."""
    is_float32: bool = False
    """Whether it computes in float32; in bfloat16 otherwise."""
    is_checkpointed: bool = False
    """Whether gradient checkpointing is on: activations are computed twice."""
    is_autocast: bool = False
    """Whether float32 weights are cast for each matrix product, as without DeepSpeed."""
    attention: str = "sdpa"
    """Attention implementation, as transformers names it."""

    @property
    def item(self) -> int:
        """Bytes of one element."""
        return FLOAT32 if self.is_float32 else FLOAT32 // 2


def activation_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes stored for all layers, plus those of the layer being computed."""
    hidden = work.item * shape.hidden
    attending = attention_layer_bytes(shape, work) if shape.attentions else 0.0
    convolving = convolution_layer_bytes(shape, work) if shape.convolutions else 0.0
    if work.is_checkpointed:
        layers = shape.layers * hidden + max(attending, convolving)
    else:
        layers = shape.attentions * attending + shape.convolutions * convolving
    stored = work.tokens * (layers + norm_bytes(shape, work) + hidden + backward_bytes(shape, work))
    return stored + (work.item * shape.weights if work.is_autocast else 0)


def attention_layer_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token in an attention layer."""
    return attention_bytes(shape, work) + feed_forward_bytes(shape, work)


def convolution_layer_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token in a convolution layer of LFM2.

    These are the masked input, `BCx` (three times as wide), the input of the convolution, its
    output, and the input of `out_proj`.
    """
    own = norm_bytes(shape, work) + 7 * work.item * shape.hidden
    return own + feed_forward_bytes(shape, work)


def norm_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token in a norm: its input in float32 and the normalized value."""
    in_float32 = work.is_autocast or shape.family in FOUR_NORM_MODELS
    scaled = FLOAT32 if in_float32 else work.item
    return (FLOAT32 + scaled) * shape.hidden


def after_norm_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token in the norm after half a layer; 0 if the model has none."""
    return norm_bytes(shape, work) if shape.family in FOUR_NORM_MODELS else 0.0


def feed_forward_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token: norm, input, gate, activated gate, up projection, product."""
    inner = work.item * (shape.hidden + 4 * shape.intermediate)
    return norm_bytes(shape, work) + inner + after_norm_bytes(shape, work)


def attention_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the bytes of a token in attention and its norm.

    These are input, queries, keys, values, output, and scores.
    """
    queries, keys = shape.query_width, shape.key_width
    stored = (
        norm_bytes(shape, work)
        + after_norm_bytes(shape, work)
        + work.item * (shape.hidden + 2 * queries)
    )
    if shape.family in QUERY_NORM_MODELS:
        stored += (FLOAT32 + work.item) * (queries + keys)
    if work.attention == "eager":
        # Softmax in float32 and its copy, and the output of tanh with soft-capping.
        numbers = FLOAT32 + work.item * (2 if shape.soft_capped else 1)
        stored += work.item * 2 * queries + shape.heads * work.row_tokens * numbers
    elif work.attention == "sdpa":
        # With a mask, keys and values are repeated for each head, and each layer stores the mask as
        # numbers; the logarithm of each sum is in float32.
        stored += work.item * (2 * queries + work.row_tokens) + FLOAT32 * shape.heads
    else:
        stored += work.item * 2 * keys + FLOAT32 * shape.heads
    return stored


def backward_bytes(shape: ModelShape, work: Pass) -> float:
    """Return the temporary bytes of a token in the backward pass: gradients of the widest part."""
    return work.item * (3 * shape.intermediate + 2 * shape.hidden)


def head_bytes(shape: ModelShape, work: Pass, *, is_trained: bool = True) -> float:
    """Return the bytes of the output head: gradients of weights and inputs, and a tile of logits.

    TRL's fused head sums both gradients in float32 and then casts them to the type of the weights.
    `is_trained` is false if the output head is not trained (LoRA).
    """
    each = FLOAT32 if work.is_float32 else FLOAT32 + work.item
    table = each * shape.table if is_trained else 0
    inputs = work.tokens * shape.hidden * (each + work.item)
    tile = min(work.tokens, HEAD_TOKENS) * min(shape.vocab, HEAD_VOCAB) * work.item
    return float(table + inputs + tile)

"""Merge two models on the CPU, tensor by tensor (mergekit), and what must fit before."""

from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.engines.models.files import TensorHeader
from hala_hpc.engines.models.tensors import tensor_headers

#: Types of safetensors by the words of torch.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def slerp(base: Path, model: Path, folder: Path, t: float, dtype: str) -> None:
    """Write the model between two others into `folder`, with `dtype` weights, without tokenizer."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    recipe = {
        "merge_method": "slerp",
        # Absolute: a relative name is taken for a hub id and looked up.
        "base_model": str(base.resolve()),
        "models": [{"model": str(base.resolve())}, {"model": str(model.resolve())}],
        "parameters": {"t": t},
        "dtype": "float32",
        "out_dtype": dtype,
    }
    # The model card asks the hub about the models, so none is written; the tokenizer is
    # copied from the tuned model, mergekit would take that of the base.
    options = MergeOptions(
        write_model_card=False, copy_tokenizer=False, lazy_unpickle=True, quiet=True
    )
    run_merge(MergeConfiguration.model_validate(recipe), str(folder), options)


def require_same_shapes(base: Path, other: Path) -> None:
    """Raise UserError 65 that names the first tensor that one model lacks or has in another shape.

    An output layer that is tied to the embedding may be written or not.
    """
    first, second = tensor_headers(base), tensor_headers(other)
    for name in sorted(first.keys() | second.keys()):
        one, two = shape_of(first, name), shape_of(second, name)
        if one != two and not (name == "lm_head.weight" and "absent" in (one, two)):
            raise UserError(
                f"the models do not fit: tensor {name} is {one} in {base}, but {two} in {other}; "
                "merge a tuned model with the base it came from",
                BAD_DATA,
            )


def shape_of(headers: dict[str, TensorHeader], name: str) -> str:
    """Shape of a tensor in words, e.g. `[64, 128]` or `absent`."""
    return str(list(headers[name].shape)) if name in headers else "absent"


def require_same_tokens(one: Path, other: Path) -> None:
    """Raise UserError 65 when the tokenizers of two models give a token different numbers."""
    first, second = read_vocabulary(one), read_vocabulary(other)
    if first is None or second is None:
        return
    for token in first.keys() & second.keys():
        if first[token] != second[token]:
            raise UserError(
                f"the tokenizers differ: token {token!r} is number {first[token]} in {one}, but "
                f"{second[token]} in {other}; such models cannot be merged",
                BAD_DATA,
            )


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Numbers of tokens as tokenizer.json has them; None where it is absent or of another kind."""
    vocab = (read_json(folder / "tokenizer.json") or {}).get("model", {}).get("vocab")
    return vocab if isinstance(vocab, dict) else None


def find_main_dtype(folder: Path) -> str:
    """The type that most tensors of a model have, as torch calls it."""
    types = [header.dtype for header in tensor_headers(folder).values()]
    main_dtype = max(set(types), key=types.count)
    if main_dtype not in DTYPES:
        raise UserError(
            f"model {folder}: its weights are {main_dtype}; a merge takes {', '.join(DTYPES)} "
            "(give the model before it was compressed)",
            BAD_DATA,
        )
    return DTYPES[main_dtype]

"""Merge two models on the CPU, tensor by tensor (mergekit), and check them before."""

from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.engines.models.files import TensorHeader
from hala_hpc.engines.models.tensors import tensor_headers

#: Types of safetensors, as torch names them.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def slerp(base: Path, model: Path, folder: Path, t: float, dtype: str) -> None:
    """Write the SLERP merge of two models into `folder`, in `dtype`, without a tokenizer."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    recipe = {
        "merge_method": "slerp",
        # Absolute: mergekit would look a relative name up as a hub id.
        "base_model": str(base.resolve()),
        "models": [{"model": str(base.resolve())}, {"model": str(model.resolve())}],
        "parameters": {"t": t},
        "dtype": "float32",
        "out_dtype": dtype,
    }
    # No model card is written, as it would query the hub about the models. The tokenizer is
    # copied from the tuned model; mergekit would use that of the base.
    options = MergeOptions(
        write_model_card=False, copy_tokenizer=False, lazy_unpickle=True, quiet=True
    )
    run_merge(MergeConfiguration.model_validate(recipe), str(folder), options)


def require_same_shapes(base: Path, other: Path) -> None:
    """Check that two models have the same tensors and shapes.

    An output layer tied to the embedding may be stored or not.

    Raises: UserError (BAD_DATA) with the first tensor that is missing or has another shape.
    """
    first, second = tensor_headers(base), tensor_headers(other)
    for name in sorted(first.keys() | second.keys()):
        one, two = shape_of(first, name), shape_of(second, name)
        if one != two and not (name == "lm_head.weight" and "absent" in (one, two)):
            raise UserError(
                f"the models differ: tensor {name} is {one} in {base}, but {two} in {other}; "
                "merge a tuned model with its base model",
                BAD_DATA,
            )


def shape_of(headers: dict[str, TensorHeader], name: str) -> str:
    """Return the shape of a tensor as text, e.g. `[64, 128]` or `absent`."""
    return str(list(headers[name].shape)) if name in headers else "absent"


def require_same_tokens(one: Path, other: Path) -> None:
    """Check the token ids of two models. Raises: UserError (BAD_DATA) if a token has two ids."""
    first, second = read_vocabulary(one), read_vocabulary(other)
    if first is None or second is None:
        return
    for token in first.keys() & second.keys():
        if first[token] != second[token]:
            raise UserError(
                f"the tokenizers differ: token {token!r} has id {first[token]} in {one}, but "
                f"{second[token]} in {other}; such models cannot be merged",
                BAD_DATA,
            )


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Read the token ids of tokenizer.json; None if it is absent or of another kind."""
    vocab = (read_json(folder / "tokenizer.json") or {}).get("model", {}).get("vocab")
    return vocab if isinstance(vocab, dict) else None


def find_main_dtype(folder: Path) -> str:
    """Return the most frequent type of a model's tensors, as torch names it."""
    types = [header.dtype for header in tensor_headers(folder).values()]
    main_dtype = max(set(types), key=types.count)
    if main_dtype not in DTYPES:
        raise UserError(
            f"model {folder}: its weights are {main_dtype}, and a merge supports "
            f"{', '.join(DTYPES)}; give the model before quantization",
            BAD_DATA,
        )
    return DTYPES[main_dtype]

"""Whether models can be merged: architecture, tensors, tokenizer, added tokens, chat template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.models.files import TensorHeader, read_object
from hala_hpc.engines.models.merging.merge_pass import Parents
from hala_hpc.engines.models.tensors import tensor_headers

#: Keys of a config that must be equal for two models of one `model_type`.
ARCHITECTURE_KEYS = ("model_type", "architectures")
OUTPUT_LAYER = "lm_head.weight"
CHARACTERS_SHOWN = 40


def require_matching_parents(parents: Parents, same_template: bool) -> None:
    """Raise UserError (BAD_DATA) with the first difference of a tuned model from the base.

    Reads config, tokenizer and the headers of the weights. `same_template`: whether chat templates
    must be equal if base and model both have one.
    """
    for model in parents.models:
        require_same_architecture(parents.base, model)
        require_same_shapes(parents.base, model)
        require_same_tokens(parents.base, model)
        if same_template:
            require_same_template(parents.base, model)


def require_same_architecture(base: Path, other: Path) -> None:
    """Raise UserError for configs of different architectures."""
    one, two = read_object(base / "config.json") or {}, read_object(other / "config.json") or {}
    for key in ARCHITECTURE_KEYS:
        if one.get(key) != two.get(key):
            raise UserError(
                f"the models do not fit: {key} is {one.get(key)!r} in {base}, but {two.get(key)!r} "
                f"in {other}; merge a tuned model with the base it came from",
                BAD_DATA,
            )


def require_same_shapes(base: Path, other: Path) -> None:
    """Raise UserError 65 with the first tensor that one model lacks or has in another shape.

    An output layer that is tied to the embedding may be absent.
    """
    first, second = tensor_headers(base), tensor_headers(other)
    for name in sorted(first.keys() | second.keys()):
        one, two = shape_of(first, name), shape_of(second, name)
        if one != two and not (name == OUTPUT_LAYER and "absent" in (one, two)):
            raise UserError(
                f"the models do not fit: tensor {name} is {one} in {base}, but {two} in {other}; "
                "merge a tuned model with the base it came from",
                BAD_DATA,
            )


def shape_of(headers: Mapping[str, TensorHeader], name: str) -> str:
    """Format the shape of a tensor, e.g. `[64, 128]` or `absent`."""
    return str(list(headers[name].shape)) if name in headers else "absent"


def require_same_tokens(base: Path, other: Path) -> None:
    """Raise UserError 65 if tokenizers differ in a token of the vocabulary or an added one.

    A model without tokenizer.json is not checked.
    """
    first, second = read_object(base / "tokenizer.json"), read_object(other / "tokenizer.json")
    if first is None or second is None:
        return
    for what, one, two in (
        ("token", vocabulary_of(first), vocabulary_of(second)),
        ("added token", added_tokens_of(first), added_tokens_of(second)),
    ):
        token = first_difference(one, two)
        if token is not None:
            raise UserError(
                f"the tokenizers differ: {what} {token!r} is {number_of(token, one)} in {base}, "
                f"but {number_of(token, two)} in {other}; such models cannot be merged",
                BAD_DATA,
            )


def vocabulary_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the tokens of a tokenizer.json, whatever its kind."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    if isinstance(vocabulary, dict):
        return vocabulary
    # Of a Unigram model: pairs of a token and its score, in the order of the ids.
    return {str(pair[0]): number for number, pair in enumerate(vocabulary)}


def added_tokens_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of the tokens that were added to a vocabulary."""
    added: Sequence[Mapping[str, Any]] = tokenizer.get("added_tokens") or []
    return {str(token.get("content")): int(token.get("id", -1)) for token in added}


def first_difference(one: Mapping[str, int], two: Mapping[str, int]) -> str | None:
    """Return the token with the lowest id that differs between tokenizers; None if equal."""
    if one == two:
        return None
    different = [token for token in one.keys() | two.keys() if one.get(token) != two.get(token)]
    return min(different, key=lambda token: (one.get(token, two.get(token, -1)), token))


def number_of(token: str, numbers: Mapping[str, int]) -> str:
    """`number 12`, or `absent`."""
    return f"number {numbers[token]}" if token in numbers else "absent"


def require_same_template(base: Path, other: Path) -> None:
    """Raise UserError 65 if both models have a chat template, and they differ."""
    one, two = read_chat_template(base), read_chat_template(other)
    if one is None or two is None or one == two:
        return
    place = next(
        (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
    shown = [text[place : place + CHARACTERS_SHOWN] for text in (one, two)]
    raise UserError(
        f"the chat templates differ: from character {place} on it is {shown[0]!r} in {base}, but "
        f"{shown[1]!r} in {other}; the models were asked in two ways. Give chat_template=any where "
        "that is meant, and the merged model takes the template of the first tuned model",
        BAD_DATA,
    )


def read_chat_template(folder: Path) -> str | None:
    """Return the chat template of a model folder as stored; None if there is none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    for name in ("chat_template.json", "tokenizer_config.json"):
        template = (read_object(folder / name) or {}).get("chat_template")
        if template:
            return str(template).strip()
    return None

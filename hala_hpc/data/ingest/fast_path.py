"""Batch reader for rows of one question and one answer.

It is twice as fast as reading row by row. It handles only chunks of a file in which every row is
valid and simple. All other chunks are read row by row, so the result is the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from hala_hpc.data.ingest.adapt import RowFormat
from hala_hpc.data.readers.adapters import QuestionFields

#: The only way to write a NUL in JSON; no text may contain one.
NUL = rb"\u0000"


@dataclass(frozen=True, slots=True)
class QuestionBatch:
    """The columns of a batch of accepted rows."""

    ids: list[bytes]
    sizes: list[int]
    systems: list[str]
    """Empty if a row has no system prompt."""
    questions: list[str]
    answers: list[str]


def fast_path_fields(fields: QuestionFields | None, row_format: RowFormat) -> QuestionFields | None:
    """Return the field names as in the data; None if rows must be read one by one."""
    if fields is None or row_format.drop or row_format.drop_code != "no" or row_format.wanted.codes:
        return None
    if row_format.has_extra_columns:
        return None
    old = {new: name for name, new in row_format.rename.items()}
    if len(old) < len(row_format.rename) or set(fields) & row_format.rename.keys():
        return None
    if old.keys() - {fields.question, fields.answer}:
        return None
    question = old.get(fields.question, fields.question)
    return fields._replace(question=question, answer=old.get(fields.answer, fields.answer))


def read_question_batch(data: bytes, fields: QuestionFields) -> QuestionBatch | None:
    """Read all rows of a chunk; None unless each is valid, simple and on a line of its own."""
    import msgspec

    if NUL in data:
        return None
    texts = data.split(b"\n")
    if not texts[-1]:
        texts.pop()
    try:
        rows = decode_rows(texts, fields)
        if any(row.origin is not None for row in rows):
            return None
        questions = required([row.question for row in rows])
        answers = required([row.answer for row in rows])
        systems = [row.system for row in rows]
        more = [row.more for row in rows] if fields.more else [None] * len(rows)
        return make_batch(optional(systems), questions, optional(more), answers)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def decode_rows(texts: list[bytes], fields: QuestionFields) -> list[Any]:
    """Decode the rows of some lines.

    Raises: ValueError or msgspec.MsgspecError if a line cannot be decoded this way.
    """
    import msgspec

    try:
        return list(map(decoder(fields, alone=True), texts))
    except msgspec.ValidationError:
        rows = list(map(decoder(fields, alone=False), texts))
    # msgspec does not check the bytes of fields that it skips.
    b"".join(texts).decode()
    return rows


@cache
def decoder(fields: QuestionFields, alone: bool) -> Callable[[bytes], Any]:
    """Return a line decoder for these fields; `alone`: for no others, in half the time of dicts."""
    import msgspec

    names = {name: field for name, field in fields._asdict().items() if field}
    types: list[Any] = [("question", str), ("answer", str), ("origin", Any, None)]
    types += [(name, str | None, None) for name in ("more", "system") if name in names]
    row = msgspec.defstruct("Row", types, rename=names, forbid_unknown_fields=alone, gc=False)
    return cast(Callable[[bytes], Any], msgspec.json.Decoder(row).decode)


def required(texts: list[str]) -> list[str]:
    """Return the texts. Raises: ValueError if one is blank."""
    if not all(texts) or any(map(str.isspace, texts)):
        raise ValueError("blank")
    return texts


def optional(texts: list[str | None]) -> list[str]:
    """Replace absent and blank texts by ""."""
    return [text if text and not text.isspace() else "" for text in texts]


def make_batch(
    systems: list[str], questions: list[str], more: list[str], answers: list[str]
) -> QuestionBatch:
    """Make the batch with its ids. Raises: UnicodeEncodeError if a text is not valid UTF-8."""
    questions = [f"{q}\n\n{m}" if m else q for q, m in zip(questions, more, strict=True)]
    texts = [
        f"system\0user\0assistant\0\0{s}\0{q}\0{a}" if s else f"user\0assistant\0\0{q}\0{a}"
        for s, q, a in zip(systems, questions, answers, strict=True)
    ]
    data = [text.encode() for text in texts]
    ids = [hashlib.blake2b(each, digest_size=16).digest() for each in data]
    return QuestionBatch(ids, list(map(len, data)), systems, questions, answers)

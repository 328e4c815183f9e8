"""Rows of one question and one answer, read many at a time.

Twice as fast as row by row, and only for stretches of a file in which every row is good and plain;
for all others the rows are read one by one, so what comes out is the same.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hala_hpc.data.adapters import QuestionFields
from hala_hpc.data.intake import Shape
from hala_hpc.data.json_lines import Lines, fast_errors, fast_loads, skip_line
from hala_hpc.data.records import ROW_BYTES, open_bytes

#: Bytes of a stretch: small, as one bad row makes all of it slow.
STRETCH_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Questions:
    """Columns of good rows."""

    ids: list[bytes]
    sizes: list[int]
    systems: list[str]
    """Empty where there is none."""
    asked: list[str]
    answers: list[str]


def plain_fields(fields: QuestionFields | None, shape: Shape) -> QuestionFields | None:
    """The fields as the rows have them; None where rows must be read one by one."""
    if fields is None or shape.drop or shape.drop_code != "no":
        return None
    old = {new: name for name, new in shape.rename.items()}
    if len(old) < len(shape.rename) or set(fields) & shape.rename.keys():
        return None
    if {fields.more, fields.system} & old.keys():
        return None
    question = old.get(fields.question, fields.question)
    return fields._replace(question=question, answer=old.get(fields.answer, fields.answer))


def stretches(lines: Lines) -> Iterator[tuple[Lines, bytes]]:
    """A piece of a file in short stretches, each with its bytes; none for a line too long."""
    assert lines.size is not None
    at, end, line = lines.offset, lines.offset + lines.size, lines.line
    with open_bytes(lines.path) as file:
        file.seek(at)
        while at < end and (data := file.read(min(STRETCH_BYTES, end - at))):
            if not data.endswith(b"\n"):
                data += file.readline(ROW_BYTES)
            size, count = len(data), data.count(b"\n")
            if not data.endswith(b"\n") and at + size < end:
                size, count = size + skip_line(file), count + 1
            yield Lines(lines.path, at, size, line), data if size < ROW_BYTES else b""
            at, line = at + size, line + count


def read_questions(data: bytes, fields: QuestionFields) -> Questions | None:
    """All rows of a stretch; None unless each is good, plain and on a line of its own."""
    texts = data.split(b"\n")
    if not texts[-1]:
        texts.pop()
    bad: tuple[type[Exception], ...] = *fast_errors(), AttributeError, KeyError, TypeError
    try:
        rows = list(map(fast_loads(), texts))
        questions, answers = (column(rows, name) for name in (fields.question, fields.answer))
        more, systems = (optional_column(rows, name) for name in (fields.more, fields.system))
        if any(row.get("origin") is not None for row in rows):
            return None
        return joined(systems, questions, more, answers)
    except bad:
        return None


def column(rows: list[Any], name: str) -> list[str]:
    """Texts that are all there. Raises ValueError where one is not, or is blank."""
    texts = [row[name] for row in rows]
    if set(map(type, texts)) != {str} or not all(texts) or any(map(str.isspace, texts)):
        raise ValueError(name)
    return texts


def optional_column(rows: list[Any], name: str) -> list[str]:
    """Texts that may be absent or blank; then they are empty. Raises ValueError for no text."""
    texts = [row.get(name) for row in rows] if name else [None] * len(rows)
    if not set(map(type, texts)) <= {str, type(None)}:
        raise ValueError(name)
    return [text if text and not text.isspace() else "" for text in texts]


def joined(
    systems: list[str], questions: list[str], more: list[str], answers: list[str]
) -> Questions | None:
    """The rows with their ids; None where a text holds what no file can hold."""
    asked = [f"{q}\n\n{m}" if m else q for q, m in zip(questions, more, strict=True)]
    texts = [
        f"system\0user\0assistant\0\0{s}\0{q}\0{a}" if s else f"user\0assistant\0\0{q}\0{a}"
        for s, q, a in zip(systems, asked, answers, strict=True)
    ]
    separators = 4 * len(texts) + 2 * sum(map(bool, systems))
    if "".join(texts).count("\0") != separators:
        return None
    data = [text.encode() for text in texts]
    ids = [hashlib.blake2b(each, digest_size=16).digest() for each in data]
    return Questions(ids, list(map(len, data)), systems, asked, answers)

"""Small corpora of sentences that the tiny model was trained on."""

import hashlib
from pathlib import Path
from typing import Any

from tiny_models import SENTENCES

from hala_hpc.data.corpus.reader import Kind, Row, part_name
from hala_hpc.data.corpus.writer import CorpusWriter

KNOWN = list(SENTENCES)


def row_id(value: Any) -> str:
    return hashlib.md5(repr(value).encode()).hexdigest()


def conversation(*texts: str) -> Row:
    roles = ["system", "user", "assistant", "user", "assistant"]
    messages = [{"role": role, "content": t} for role, t in zip(roles, texts, strict=False)]
    return {"id": row_id(texts), "origin": "test", "messages": messages}


def pair(source: str, target: str) -> Row:
    return {"id": row_id((source, target)), "origin": "test", "source": source, "target": target}


def translated(before: Row, *texts: str) -> Row:
    """Add a translation of each message to a conversation."""
    messages = [
        {"role": message["role"], "content": text}
        for message, text in zip(before["messages"], texts, strict=True)
    ]
    return {**before, "messages": messages, "messages_source": before["messages"]}


def write_corpus(folder: Path, rows: list[Row]) -> Path:
    """Write a corpus with one shard per ten rows."""
    kind: Kind = "pairs" if "source" in rows[0] else "conversations"
    kind = "translations" if "messages_source" in rows[0] else kind
    for number in range(0, len(rows), 10):
        with CorpusWriter(folder / part_name(number // 10), kind) as writer:
            for row in rows[number : number + 10]:
                writer.add(row)
    return folder

"""Verify a finished shard from its two files alone."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import INTERNAL, UserError
from hala_hpc.data.corpus.messages import TOOLS, format_fields
from hala_hpc.data.corpus.reader import (
    COLUMNS,
    open_part,
    part_has_fields,
    part_kind,
    part_name,
    rejected_name,
    torn_part_error,
)
from hala_hpc.data.corpus.writer import count_rejected, encode_hex_ids
from hala_hpc.data.ingest.shard_plan import format_checksum

ROWS_IN = "hala.rows_in"
PLANNED = "hala.planned"


@dataclass(frozen=True)
class ShardCounts:
    """Row counts of a finished shard."""

    rows_in: int
    """Rows that its writer was given."""
    rows_out: int
    rejected: dict[str, int]


def verify_shard(folder: Path, unit: int) -> ShardCounts:
    """Recompute the hash of every row and count both files.

    Raises: UserError (INTERNAL) if a row does not match its id, is there twice or was not planned,
    UserError (BAD_DATA) if a file is damaged.
    """
    import numpy as np
    import pyarrow as pa

    part = folder / part_name(unit)
    columns, found = ["id", *COLUMNS[part_kind(part)]], bytearray()
    columns += [TOOLS] if part_has_fields(part) else []
    with open_part(part) as file:
        notes = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
        try:
            for group in range(file.num_row_groups):
                found += checked_ids(file.read_row_group(group, columns).combine_chunks(), part)
        except (pa.ArrowInvalid, OSError) as error:
            raise torn_part_error(part, error) from error
    ids = np.frombuffer(bytes(found), "<u8").reshape(-1, 2)
    order = ids[np.lexsort((ids[:, 1], ids[:, 0]))]
    if (order[1:] == order[:-1]).all(axis=1).any():
        raise UserError(f"{part}: a row is there twice", INTERNAL)
    if format_checksum(len(ids), np.bitwise_xor.reduce(ids, axis=0)) != notes.get(PLANNED):
        raise UserError(f"{part}: holds other rows than planned", INTERNAL)
    rejected = count_rejected(folder / rejected_name(unit))
    return ShardCounts(int(notes[ROWS_IN]), len(ids), rejected)


def checked_ids(table: Any, part: Path) -> bytes:
    """Return the ids of all rows.

    Raises: UserError (INTERNAL) if an id is not the hash of its row.
    """
    ids = b""
    for batch in table.to_batches():
        hashes = [hashlib.blake2b(row, digest_size=16).digest() for row in joined_texts(batch)]
        named, here = batch.column("id"), b"".join(hashes)
        if not named.equals(encode_hex_ids(here)):
            pairs = zip(named.to_pylist(), hashes, strict=True)
            wrong = next(name for name, real in pairs if name != real.hex())
            raise UserError(f"{part}: row {wrong} was changed", INTERNAL)
        ids += here
    return ids


def joined_texts(batch: Any) -> list[Any]:
    """Join roles, an empty text and texts of each row with NUL, as for the ids.

    The code that made the ids is not used on purpose: this one works on whole columns.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if "source" in batch.schema.names:
        parts = ["", batch.column("source"), batch.column("target")]
    else:
        lists = batch.column("messages")
        role, content, *fields = lists.flatten().flatten()
        ends = np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
        offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
        both = [pa.ListArray.from_arrays(offsets, texts) for texts in (role, content)]
        parts = [pc.binary_join(both[0], "\0"), "", pc.binary_join(both[1], "\0")]
        if fields:
            parts = [pc.binary_join_element_wise(*parts, "\0"), joined_fields(batch, fields, ends)]
            return slice_bytes(pc.binary_join_element_wise(*parts, ""))
    return slice_bytes(pc.binary_join_element_wise(*parts, "\0"))


def joined_fields(batch: Any, fields: list[Any], ends: Any) -> Any:
    """Return what the id of each row has after its texts: NUL and its fields, or nothing."""
    import pyarrow as pa

    values = list(zip(*(column.to_pylist() for column in fields), strict=True))
    tools = batch.column(TOOLS).to_pylist()
    starts = [0, *ends.tolist()]
    found = [
        format_fields(values[start:end], tools_of_row or "")
        for (start, end), tools_of_row in zip(pairwise(starts), tools, strict=True)
    ]
    return pa.array([f"\0{text}" if text else "" for text in found], pa.string())


def slice_bytes(texts: Any) -> list[Any]:
    """Return the bytes of each text of an array without copying."""
    import numpy as np

    _, offsets, data = texts.buffers()
    wide = np.int64 if "large" in str(texts.type) else np.int32
    ends = np.frombuffer(offsets, wide)[texts.offset : texts.offset + len(texts) + 1].tolist()
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise(ends)]

"""A short look at data from the login node: is it there, and can rows be made of it?"""

from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.data.corpus.reader import Kind
from hala_hpc.data.ingest.adapt import Shape, fitted
from hala_hpc.data.readers.sources import Choice, Source, ending, require_hub_id, sources

#: First and last bytes of a Parquet file.
PARQUET_MARK = b"PAR1"


def peek(path: str, choice: Choice, shape: Shape) -> Kind | None:
    """Look into a local path, or at the form of a hub id; the kind of its rows if that shows.

    Raises UserError 66 for what is missing or unreadable, 65 for empty files and rows that fit no
    adapter.
    """
    if not Path(path).exists():
        require_hub_id(path)
        return None
    found = sources(path, choice)
    if not any(Path(source.where).stat().st_size for source in found):
        raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)
    for source in found:
        with_access(Path(source.where))
    return peek_rows(path, found, shape)


def with_access(file: Path) -> None:
    """Raise UserError 66 when a file cannot be opened, 65 when it is a torn Parquet file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
            if ending(file) == ".parquet":
                opened.seek(-min(4, len(start)), 2)
                if not start == opened.read(4) == PARQUET_MARK:
                    raise UserError(
                        f"data file {file}: is no whole Parquet file; copy it again", BAD_DATA
                    )
    except OSError as error:
        raise UserError(f"data file {file}: cannot be read: {error.strerror}", NO_INPUT) from error


def peek_rows(path: str, found: list[Source], shape: Shape) -> Kind | None:
    """Fit an adapter to the first text file that has rows, and tell their kind.

    Parquet is left to the job: reading it needs libraries that a login node does without.
    """
    for source in found:
        if ending(Path(source.where)) == ".parquet":
            return None
        if (adapter := fitted(source, shape)[0]) is not None:
            return adapter.kind
    raise UserError(f"data {path}: is empty, there are no rows to prepare", BAD_DATA)

"""Open data files: decompressed, and converted to UTF-8 from the encoding that is set or found.

pyarrow decompresses Zstandard, the standard library the other formats: no other library is needed.
charset-normalizer is not used: it guesses, and for short Arabic texts it guesses wrongly. Only
encodings that the first bytes prove are found here; others are set by the user.
"""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast
from zipfile import ZipFile

Quoting = Literal["auto", "csv", "none"]
"""Quotation marks of CSV and TSV: `csv` removes them by RFC 4180, `none` leaves them, `auto`
detects: removed in CSV, in TSV only if the file proves that they were added.
"""

#: Suffixes of compressed files.
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
#: Byte order marks with their encodings; the one of UTF-32 begins with the one of UTF-16.
BYTE_ORDERS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: Bytes that are read to find the encoding, and the zero bytes among them that prove UTF-16.
HEAD_BYTES = 64
MIN_ZEROS = 8
RECODE_BYTES = 256 * 1024
#: Error handler of decoders: a byte sequence that is invalid becomes one invalid byte of UTF-8,
#: which rejects the row with bad-utf8.
BAD_BYTES = "hala-bad-bytes"


@dataclass(frozen=True)
class TextFormat:
    """How text files are read; empty fields are detected for each file."""

    encoding: str = ""
    separator: str = ""
    quoting: Quoting = "auto"


#: Everything is detected.
PLAIN_TEXT = TextFormat()


def replace_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be decoded by a lone surrogate."""
    return "\udcff", cast(UnicodeDecodeError, error).end


codecs.register_error(BAD_BYTES, replace_bad_bytes)


class RecodedFile(io.RawIOBase):
    """A file in another encoding as a stream of UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(BAD_BYTES)
        self._rest = memoryview(b"")
        self._is_finished = False

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with UTF-8; return the number of bytes, 0 at the end."""
        while not self._rest and not self._is_finished:
            data = self._file.read(RECODE_BYTES)
            self._is_finished = not data
            text = self._decoder.decode(data, self._is_finished)
            self._rest = memoryview(text.encode("utf-8", "surrogateescape"))
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        """Close the file below, too."""
        self._file.close()
        super().close()


def find_encoding(path: Path, wanted: str) -> str:
    """Return the encoding of a text file: `wanted`, or UTF-16 or -32 if proven, else UTF-8."""
    if wanted:
        return codecs.lookup(wanted).name
    with open_decompressed(path) as file:
        head = file.read(HEAD_BYTES)
    for order, encoding in BYTE_ORDERS.items():
        if head.startswith(order):
            return encoding
    for zeros, others, encoding in (
        (head[1::2], head[0::2], "utf-16-le"),
        (head[0::2], head[1::2], "utf-16-be"),
    ):
        if zeros.count(0) >= MIN_ZEROS and zeros[:1] == b"\0" and not others.count(0):
            return encoding
    return "utf-8"


def open_bytes(path: Path, encoding: str = "") -> IO[bytes]:
    """Open a file, decompressed, as UTF-8."""
    found = find_encoding(path, encoding)
    file = open_decompressed(path)
    if found == "utf-8":
        return file
    return cast(IO[bytes], io.BufferedReader(RecodedFile(file, found), RECODE_BYTES))


@contextmanager
def open_text(path: Path, encoding: str = "") -> Iterator[IO[str]]:
    """Open a file as text; newlines are not translated, invalid bytes become lone surrogates."""
    with open_bytes(path, encoding) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def open_decompressed(path: Path) -> IO[bytes]:
    """Open a file on the disk, or a member of a zip file (`a.zip/b.jsonl`), decompressed."""
    archive = find_archive(path)
    if archive is None:
        return decompress(path, path.suffix.lower())
    # The caller closes it.
    member = ZipFile(archive).open(path.relative_to(archive).as_posix())  # noqa: SIM115
    return decompress(member, path.suffix.lower())


def decompress(file: Path | IO[bytes], suffix: str) -> IO[bytes]:
    """Return the decompressed content of a file, by the suffix of its name."""
    opened: Any = file
    match suffix:
        case ".gz":
            opened = gzip.open(file)  # noqa: SIM115
        case ".bz2":
            opened = bz2.open(file)  # noqa: SIM115
        case ".xz":
            opened = lzma.open(file)  # noqa: SIM115
        case ".zst":
            import pyarrow as pa

            inner = pa.OSFile(str(file)) if isinstance(file, Path) else pa.PythonFile(file, "r")
            opened = io.BufferedReader(pa.CompressedInputStream(inner, "zstd"))
        case _ if isinstance(file, Path):
            opened = file.open("rb")
    return cast(IO[bytes], opened)


def find_archive(path: Path) -> Path | None:
    """Return the zip file that a path leads into; None for a file on the disk."""
    inside = (parent for parent in path.parents if parent.suffix.lower() == ".zip")
    return next((parent for parent in inside if parent.is_file()), None)


def is_plain_utf8(path: Path, encoding: str) -> bool:
    """Whether a file is UTF-8 on the disk, not compressed: then it can be read from any offset."""
    is_on_disk = path.is_file() and path.suffix.lower() not in COMPRESSIONS
    return is_on_disk and find_encoding(path, encoding) == "utf-8"

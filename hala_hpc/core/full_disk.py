"""Detect a full disk, from an error of the system or from the error text of a library."""

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import CANNOT_CREATE, TransientError, UserError
from hala_hpc.core.paths import is_within
from hala_hpc.core.quotas import describe_tight_quotas

#: Error numbers of the system if nothing can be written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: Error texts of libraries that raise no OSError: those in Rust (safetensors, tokenizers), and
#: Arrow.
PHRASES = re.compile(
    r"No space left on device|Disk quota exceeded|\(os error (28|122|30)\)|\[errno (28|122|30)\]"
)
#: A disk with more free bytes than this is not full.
MIN_FREE_BYTES = 64 * 2**20
#: Bytes of a file that tests for free space: more than the rest that a failed write leaves.
PROBE_BYTES = 2**20


def find_full_disk_error(error: BaseException, work: Path) -> UserError | None:
    """Convert an error of a full disk or quota of the work folder; None for other errors.

    A full disk of the node alone is not converted: another attempt runs elsewhere.
    """
    for one in walk_error_chain(error):
        if isinstance(one, OSError) and one.errno in FULL:
            if isinstance(one.filename, str):
                return convert_os_error(one) if is_within(Path(one.filename), work) else None
            return (
                None if is_node_disk_full(work) else full_disk_error(work, one.strerror or str(one))
            )
        if found := PHRASES.search(str(one)):
            return None if is_node_disk_full(work) else full_disk_error(work, found[0])
    return None


@contextmanager
def detect_full_disk(folder: Path) -> Iterator[None]:
    """Raise UserError (CANNOT_CREATE) for what fails in the block while the disk has no room.

    For libraries whose errors do not say it: torch reports a position in a file. The disk is probed
    when the block fails, so the block must not remove anything that it wrote.
    """
    try:
        yield
    except (UserError, TransientError):
        raise
    except Exception as error:
        if message := probe_write_error(folder):
            raise full_disk_error(folder, message) from error
        raise


def probe_write_error(folder: Path) -> str:
    """The error of the system for a file of a few blocks in a folder; "" if it can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        return (error.strerror or str(error)) if error.errno in FULL else ""
    return ""


def walk_error_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and its causes."""
    visited: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in visited:
        visited.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def is_node_disk_full(work: Path) -> bool:
    """Whether the temporary folder of this machine is full, and the work folder is not."""
    free = [shutil.disk_usage(path).free for path in (work, tempfile.gettempdir())]
    return free[0] > MIN_FREE_BYTES >= free[1]


def full_disk_error(folder: Path, message: str) -> UserError:
    """The UserError that names the folder and its free space."""
    free = shutil.disk_usage(folder).free
    quotas = "".join(f"; {line}" for line in describe_tight_quotas(folder))
    return UserError(
        f"{folder}: {message} ({free / 1e9:.3f} GB are free{quotas}): free space on this disk or "
        "in your quota (`hala clean` shows what may go), then run the same command again to resume",
        CANNOT_CREATE,
    )

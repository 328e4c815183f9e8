"""Whether what is to be fetched fits the file system of the hub cache."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import total_bytes
from hala_hpc.commands.fetching.listing import Listing
from hala_hpc.core.errors import CANNOT_CREATE, UserError

GB = 10**9
#: Room that stays free, for locks, lists and what others write meanwhile.
SPARE_BYTES = GB // 10


def require_space(listings: Sequence[Listing], cache: Path) -> int:
    """Free bytes of the file system of the hub cache. Raises UserError 73 where they are too few.

    A quota of this user may leave less than the file system has: `doctor` asks for it.
    """
    place = next(one for one in (cache, *cache.parents) if one.exists())
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise UserError(f"hub cache {cache}: {error.strerror}", CANNOT_CREATE) from None
    needed = total_bytes(listings)
    if needed and needed + SPARE_BYTES > free:
        raise UserError(
            f"hub cache {cache}: {needed / GB:.3f} GB are to be fetched, and {place} has "
            f"{free / GB:.3f} GB free; make room, or name another place in the launcher: "
            '[environment] HF_HOME = "/scratch/shared/huggingface"',
            CANNOT_CREATE,
        )
    return free

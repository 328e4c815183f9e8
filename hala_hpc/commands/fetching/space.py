"""Whether what is to be fetched can be put into the hub cache: is it open, and is there room."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import total_bytes
from hala_hpc.commands.fetching.listing import Listing
from hala_hpc.core.damage import find_owner
from hala_hpc.core.errors import CANNOT_CREATE, UserError

GB = 10**9
#: Room that stays free, for locks, lists and what others write meanwhile.
SPARE_BYTES = GB // 10

#: What helps where a lab shares a hub cache that others fill.
OTHER_CACHE = (
    "let its owner give the same line, or name a cache of your own in the launcher: [environment] "
    'HF_HOME = "/scratch/me/huggingface"; jobs need not write there'
)


def require_writable_cache(listings: Sequence[Listing]) -> None:
    """Raise UserError (73) where this user may not write what is to be fetched."""
    closed = {place: one.description for one in listings for place in find_closed_folders(one)}
    if closed:
        raise UserError(
            [describe_closed_folder(place, what) for place, what in closed.items()], CANNOT_CREATE
        )


def describe_closed_folder(place: Path, what: str) -> str:
    """That a folder is closed for writing, and what helps."""
    return (
        f"hub cache: {place} is closed for writing (it belongs to user number {find_owner(place)}), "
        f"and {what} is to be fetched into it; {OTHER_CACHE}"
    )


def find_closed_folders(listing: Listing) -> Iterator[Path]:
    """The folders into which a fetch would write, and that this user may not write."""
    repository = listing.repository
    names = ("blobs", "snapshots", "refs", "trees")
    places = [repository / name for name in names]
    places += [listing.snapshot, repository.parent / ".locks" / repository.name]
    for place in places:
        there = next(one for one in (place, *place.parents) if one.exists())
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            yield there


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

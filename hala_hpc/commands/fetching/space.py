"""Check that the hub cache is writable and has enough free space for what is to be fetched."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import total_bytes
from hala_hpc.commands.fetching.listing import Listing
from hala_hpc.core.damage import find_owner
from hala_hpc.core.errors import CANNOT_CREATE, UserError

GB = 10**9
#: Space that stays free, for locks, lists and what others write meanwhile.
SPARE_BYTES = GB // 10

#: Fix for labs that share a hub cache which others fill.
OTHER_CACHE = (
    "let its owner run the same command, or name your own cache in the launcher: [environment] "
    'HF_HOME = "/scratch/me/huggingface"; jobs do not write there'
)


def require_writable_cache(listings: Sequence[Listing]) -> None:
    """Raises: UserError (CANNOT_CREATE) if this user may not write what is to be fetched."""
    closed = {place: one.description for one in listings for place in find_closed_folders(one)}
    if closed:
        raise UserError(
            [describe_closed_folder(place, what) for place, what in closed.items()], CANNOT_CREATE
        )


def describe_closed_folder(place: Path, what: str) -> str:
    """Describe a folder that is not writable, with a fix."""
    return (
        f"hub cache: {place} is not writable (it belongs to user number {find_owner(place)}), and "
        f"{what} is to be fetched into it; {OTHER_CACHE}"
    )


def find_closed_folders(listing: Listing) -> Iterator[Path]:
    """Folders that a fetch would write to and this user may not write."""
    repository = listing.repository
    names = ("blobs", "snapshots", "refs", "trees")
    places = [repository / name for name in names]
    places += [listing.snapshot, repository.parent / ".locks" / repository.name]
    for place in places:
        there = next(one for one in (place, *place.parents) if one.exists())
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            yield there


def require_space(listings: Sequence[Listing], cache: Path) -> int:
    """Return the free bytes of the hub cache's file system.

    A quota may leave this user less than the file system has: `doctor` queries it. Raises:
    UserError (CANNOT_CREATE) if there is too little space.
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
            f"{free / GB:.3f} GB free; free some space, or name another folder in the launcher: "
            '[environment] HF_HOME = "/scratch/shared/huggingface"',
            CANNOT_CREATE,
        )
    return free

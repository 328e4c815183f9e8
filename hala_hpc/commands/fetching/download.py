"""Fetch the files of a listing with huggingface_hub, and compare them with the hub's digests."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import escape
from pathlib import Path

from hala_hpc.commands.fetching.hub_errors import translate_hub_errors
from hala_hpc.commands.fetching.listing import Listing
from hala_hpc.core.errors import UNAVAILABLE, UserError
from hala_hpc.core.hub_tree import HubFile, describe_digest_fault, set_tree_aside

#: Files read concurrently for their digests: a single reader is slower than a file system.
READERS = 8


def download_listing(listing: Listing) -> None:
    """Fetch the missing files of a listing, verify them, and record the commit.

    Resumes an earlier fetch: complete files stay, others are fetched again. What was fetched before
    an error stays. Raises: UserError (NO_INPUT, UNAVAILABLE, CANNOT_CREATE).
    """
    fetched = list(listing.missing)
    with translate_hub_errors(listing.wanted):
        for name in fetched:
            remove_cached_file(listing.snapshot / name, listing.repository.parent)
        fetch_files(listing)
        if broken := find_digest_faults(
            listing.snapshot, {name: listing.files[name] for name in fetched}
        ):
            # A network or disk error: fetch once more, only these files.
            for name in broken:
                remove_cached_file(listing.snapshot / name, listing.repository.parent)
            fetch_files(listing)
            still_broken = find_digest_faults(
                listing.snapshot, {name: listing.files[name] for name in broken}
            )
            if still_broken:
                message = "; ".join(still_broken.values())
                raise UserError(
                    f"{listing.description}: {message}, even after a second download", UNAVAILABLE
                )
        if listing.wanted.kind == "kernels":
            set_tree_aside(listing.repository, listing.commit)
        listing.record_commit()


def fetch_files(listing: Listing) -> None:
    """Let huggingface_hub fetch the files, by their exact names."""
    from huggingface_hub import snapshot_download

    snapshot_download(
        listing.name,
        repo_type=listing.repo_type,
        revision=listing.commit,
        cache_dir=listing.repository.parent,
        allow_patterns=[escape(name) for name in listing.files],
    )


def remove_cached_file(path: Path, cache: Path) -> None:
    """Remove an incomplete file from the cache, with the blob that it links to.

    huggingface_hub takes any existing file for complete. What is outside the hub cache stays.
    """
    if not os.path.lexists(path):
        return
    behind = path.resolve()
    if cache.resolve() in behind.parents:
        behind.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def find_digest_faults(folder: Path, files: Mapping[str, HubFile]) -> dict[str, str]:
    """Find the files whose content differs from the hub's, by name; every file is read.

    Raises: OSError, e.g. for a missing file.
    """
    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        found = readers.map(partial(find_digest_fault, folder), files.items())
        return {name: fault for name, fault in zip(files, found, strict=True) if fault}


def find_digest_fault(folder: Path, item: tuple[str, HubFile]) -> str:
    """What is wrong with the content of one file; empty if nothing is."""
    name, expected = item
    return describe_digest_fault(folder / name, expected)


def total_bytes(listings: Iterable[Listing]) -> int:
    """Bytes to be fetched for all listings."""
    return sum(listing.missing_bytes for listing in listings)

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

#: Files that are read at once for their digests: one reader alone is slower than a file system.
READERS = 8


def download_listing(listing: Listing) -> None:
    """Fetch what is missing of a listing, verify it, and note its commit.

    Goes on where an earlier fetch ended: files that are whole stay, others are fetched anew.
    Raises UserError (66, 69, 73); what was fetched before that stays.
    """
    fetched = list(listing.missing)
    with translate_hub_errors(listing.wanted):
        for name in fetched:
            remove_cached_file(listing.snapshot / name, listing.repository.parent)
        fetch_files(listing)
        if broken := find_digest_faults(
            listing.snapshot, {name: listing.files[name] for name in fetched}
        ):
            # The network, or a disk: once more, and only those.
            for name in broken:
                remove_cached_file(listing.snapshot / name, listing.repository.parent)
            fetch_files(listing)
            still_broken = find_digest_faults(
                listing.snapshot, {name: listing.files[name] for name in broken}
            )
            if still_broken:
                message = "; ".join(still_broken.values())
                raise UserError(
                    f"{listing.description}: {message}, also when fetched again", UNAVAILABLE
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
    """Remove what lies at the place of a file that is not whole, with the content behind it.

    huggingface_hub takes whatever is there for whole. What lies outside the hub cache stays.
    """
    if not os.path.lexists(path):
        return
    behind = path.resolve()
    if cache.resolve() in behind.parents:
        behind.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def find_digest_faults(folder: Path, files: Mapping[str, HubFile]) -> dict[str, str]:
    """By name the files whose content is not that of the hub; every file is read.

    Raises OSError, as of a file that is missing.
    """
    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        found = readers.map(partial(find_digest_fault, folder), files.items())
        return {name: fault for name, fault in zip(files, found, strict=True) if fault}


def find_digest_fault(folder: Path, item: tuple[str, HubFile]) -> str:
    """What is wrong with the content of one file; empty if nothing is."""
    name, expected = item
    return describe_digest_fault(folder / name, expected)


def total_bytes(listings: Iterable[Listing]) -> int:
    """Bytes that have to be fetched for all of them."""
    return sum(listing.missing_bytes for listing in listings)

"""Fetch what nodes read and is missing here: query the hub, print the sizes, fetch one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hala_hpc.commands.fetching.download import download_listing, remove_cached_file, total_bytes
from hala_hpc.commands.fetching.hub_errors import describe_repository, translate_hub_errors
from hala_hpc.commands.fetching.listing import Listing, list_hub_files, pinned_commit
from hala_hpc.commands.fetching.offline_check import find_damaged_files
from hala_hpc.commands.fetching.space import (
    GB,
    describe_closed_folder,
    require_space,
    require_writable_cache,
)
from hala_hpc.commands.planning.hub_dependencies import (
    RequiredRepository,
    find_required_repositories,
    inspect_repository,
)
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CANNOT_CREATE, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import find_hub_cache, hub_cache
from hala_hpc.core.hub_dependency import HubSite


def fetch_missing(steps: Sequence[Step], site: HubSite, update: bool, dry_run: bool) -> None:
    """Fetch what unfinished nodes read and is missing or incomplete here.

    `update`: take the newest commits of the hub. Without it, complete files stay at their commit,
    and what finished results were made from is fetched at their commits. So a repository that
    changed on the hub changes no input by itself.

    Raises: UserError (NO_INPUT, UNAVAILABLE, CANNOT_CREATE) after everything else is fetched.
    """
    missing = [step for step in steps if step.state != "done"]
    read = find_required_repositories(missing, site.python)
    if not dry_run:
        remove_damaged_files(read, site)
    wanted = [one for one in read if update or inspect_repository(one, site.environment).problems]
    commits = {} if update else {one: pinned_commit(one.reference, steps) for one in wanted}
    listings, refused = list_all(wanted, commits, site)
    print_listings(listings, site)
    own = [step for step in missing if any(p.problems for p in step.stage().hub_dependencies(site))]
    if dry_run:
        dependencies = [
            dependency for step in own for dependency in step.stage().hub_dependencies(site)
        ]
        print(
            "".join(
                f"  {dependency.message}\n" for dependency in dependencies if dependency.problems
            ),
            end="",
        )
    else:
        refused += fetch_listings(listings)
        if not any(error.code == UNAVAILABLE for error in refused):
            refused += fetch_stage_data(own, site)
    if refused:
        mistakes = [line for error in refused for line in error.mistakes]
        codes = {error.code for error in refused}
        raise UserError(mistakes, codes.pop() if len(codes) == 1 else NO_INPUT)


def remove_damaged_files(wanted: Sequence[RequiredRepository], site: HubSite) -> None:
    """Remove files whose content differs from the hub's, so that they are fetched again.

    Raises: UserError (CANNOT_CREATE) for files that this user may not remove.
    """
    print("comparing what is here with the hub's digests", flush=True)
    for one in wanted:
        for path, fault in find_damaged_files([one], site.environment):
            print(f"  {fault}: it will be fetched again", flush=True)
            try:
                remove_cached_file(path, find_hub_cache(one.kind, site.environment))
            except PermissionError as error:
                message = describe_closed_folder(
                    Path(error.filename or path).parent, f"{describe_repository(one)}, damaged,"
                )
                raise UserError(message, CANNOT_CREATE) from error


def list_all(
    wanted: Sequence[RequiredRepository], commits: Mapping[RequiredRepository, str], site: HubSite
) -> tuple[list[Listing], list[UserError]]:
    """List each repository on the hub at the commit that is named; collect the refusals.

    Raises: UserError (UNAVAILABLE) at the first query without an answer: each further one would
    wait for its retries, too.
    """
    listings, refused = [], []
    for one in wanted:
        try:
            with translate_hub_errors(one):
                listings.append(list_hub_files(one, commits.get(one, ""), site.environment))
        except UserError as error:
            if error.code == UNAVAILABLE:
                raise
            refused.append(error)
    return listings, refused


def print_listings(listings: Sequence[Listing], site: HubSite) -> None:
    """Print what will be fetched and the free disk space. Raises: UserError (CANNOT_CREATE)."""
    cache = hub_cache(site.environment)
    if not listings:
        print(f"no model or data set has to be fetched into {cache}")
        return
    print(f"to fetch into {cache}:")
    for one in listings:
        files, size = len(one.missing), one.missing_bytes / GB
        print(f"  {one.description}, commit {one.commit[:12]}: {files} files, {size:.3f} GB")
    require_writable_cache(listings)
    free = require_space(listings, cache)
    print(f"{total_bytes(listings) / GB:.3f} GB in all; {free / GB:.3f} GB are free", flush=True)


def fetch_listings(listings: Sequence[Listing]) -> list[UserError]:
    """Fetch one listing after the other; return the errors."""
    refused = []
    for number, one in enumerate(listings, start=1):
        print(f"[{number}/{len(listings)}] {describe_repository(one.wanted)} ...", flush=True)
        try:
            download_listing(one)
        except UserError as error:
            refused.append(error)
            if error.code in (UNAVAILABLE, CANNOT_CREATE):
                break
        else:
            print(
                f"[{number}/{len(listings)}] {describe_repository(one.wanted)}: fetched, "
                "digests compared"
            )
    return refused


def fetch_stage_data(steps: Sequence[Step], site: HubSite) -> list[UserError]:
    """Let stages fetch what only they can fetch; return the errors."""
    refused = []
    for step in steps:
        try:
            step.stage().fetch_hub_dependencies(site, lambda text: print(text, flush=True))
        except UserError as error:
            refused.append(error)
    return refused

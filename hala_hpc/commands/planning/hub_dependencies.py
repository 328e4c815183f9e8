"""Find what the missing nodes of a plan read from the hub, and check that it is here, complete.

Dry run, launch, doctor and fetch use these functions. They read names, sizes and headers, and use
no network.
"""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import UserError
from hala_hpc.core.hub import (
    HUB_NAMES,
    fetched_commit,
    find_hub_cache,
    is_hub_id,
    parse_hub_reference,
    repository_folder,
)
from hala_hpc.core.hub_dependency import DATA_SET, KERNEL, MODEL, HubDependency, HubSite
from hala_hpc.core.hub_tree import HubFile, read_tree, tree_file
from hala_hpc.core.stage import Stage
from hala_hpc.data.readers.hub_cards import read_card
from hala_hpc.engines.models.files import missing_parts
from hala_hpc.engines.models.needed_files import needed_names

#: Kinds of dependencies by the hub's names of the kinds.
DEPENDENCY_KINDS = {"models": MODEL, "datasets": DATA_SET, "kernels": KERNEL}
#: Faults that are listed for one dependency.
MAX_LISTED_FAULTS = 5
#: Arguments of a command line that `fetch` does not need.
NOT_FOR_FETCH = ("dry_run", "confirm", "max_gpu_hours", "budget_gpu_hours", "job", "format")


@dataclass(frozen=True)
class RequiredRepository:
    """A repository of the hub that nodes read, with the stages that read it."""

    kind: str
    """models, datasets or kernels."""
    reference: str
    """`owner/name` or `owner/name@revision`."""
    readers: tuple[Stage[Any], ...]
    python: str
    """Interpreter of the environment main: its torch decides which build of a kernel is read."""

    @property
    def reads_weights(self) -> bool:
        """Whether a reader of this model reads its weights."""
        return any(stage.reads_weights for stage in self.readers)

    def names(self, all_names: Sequence[str], card: str = "") -> list[str]:
        """Select from the paths of all files those that are read. Raises: UserError if none is.

        `card` is the text of the card of a data set.
        """
        if self.kind == "models":
            return needed_names(all_names, self.reads_weights)
        if self.kind == "kernels":
            from hala_hpc.engines.models.kernels import needed_files

            return needed_files(all_names, self.python)
        return sorted(
            {name for stage in self.readers for name in stage.data_names(all_names, card)}
        )


def make_hub_site(command_line: CommandLine) -> HubSite:
    """Where the jobs of a command line find what was fetched."""
    environment = os.environ | command_line.launcher.environment
    return HubSite(environment, command_line.launcher.python_of("main"), command_line.work)


def find_required_repositories(steps: Iterable[Step], python: str) -> list[RequiredRepository]:
    """The repositories that some nodes read, in order of kind and name.

    `python`: interpreter of the environment main.
    """
    readers: dict[tuple[str, str], list[Stage[Any]]] = {}
    for step in steps:
        stage = step.stage()
        for kind, value in hub_references(stage, python):
            readers.setdefault((kind, value), []).append(stage)
    found = sorted(readers.items())
    return [
        RequiredRepository(kind, value, tuple(stages), python) for (kind, value), stages in found
    ]


def hub_references(stage: Stage[Any], python: str) -> set[tuple[str, str]]:
    """`(models, datasets or kernels, reference)` of all repositories that a stage names."""
    return kernel_references(stage, python) | {
        (HUB_NAMES[kind], value)
        for _, value, reference in stage.settings.references()
        for kind in reference.kinds
        if kind in HUB_NAMES and is_hub_id(value)
    }


def kernel_references(stage: Stage[Any], python: str) -> set[tuple[str, str]]:
    """`(kernels, reference)` of every kernel that a stage loads; few stages load any."""
    found = stage.kernels(python)
    if not found:
        return set()
    from hala_hpc.engines.models.kernels import kernel_reference

    return {("kernels", kernel_reference(value)) for value in found}


def describe_library_fault(wanted: RequiredRepository) -> str:
    """Why a fetched kernel could not be loaded; empty if nothing is known to be wrong."""
    if wanted.kind != "kernels":
        return ""
    from hala_hpc.engines.models.kernels import library_fault

    return library_fault(wanted.python)


def find_hub_dependencies(steps: Iterable[Step], site: HubSite) -> list[HubDependency]:
    """Find everything that some nodes read and no node makes, each with its problems.

    Raises: UserError if a stage cannot determine what it reads.
    """
    listed = list(steps)
    found = [
        inspect_repository(wanted, site.environment)
        for wanted in find_required_repositories(listed, site.python)
    ]
    own = {
        dependency: None for step in listed for dependency in step.stage().hub_dependencies(site)
    }
    return [*found, *own]


def inspect_repository(wanted: RequiredRepository, environment: Mapping[str, str]) -> HubDependency:
    """Inspect a model, data set or kernel in the hub cache of `environment`."""
    cache = find_hub_cache(wanted.kind, environment)
    name, revision = parse_hub_reference(wanted.reference)
    repository = repository_folder(cache, wanted.kind, name)
    kind = DEPENDENCY_KINDS[wanted.kind]
    unused = describe_library_fault(wanted)
    try:
        commit = fetched_commit(repository, revision)
        if commit is None:
            missing = f"is not in the hub cache {cache}{describe_other_revisions(repository)}"
            problems = tuple(filter(None, [missing, unused]))
            return HubDependency(kind, wanted.reference, repository, problems=problems)
        snapshot = repository / "snapshots" / commit
        faults = list(find_snapshot_faults(wanted, repository, commit))
    except OSError as error:
        problem = f"cannot be read in {repository}: {error.strerror}"
        return HubDependency(kind, wanted.reference, repository, problems=(problem,))
    broken = f"in {snapshot} is incomplete: {'; '.join(shorten_faults(faults))}" if faults else ""
    problems = tuple(filter(None, [broken, unused]))
    return HubDependency(kind, wanted.reference, snapshot, commit, problems)


def describe_other_revisions(repository: Path) -> str:
    """Describe what of a repository is here if the requested revision is not."""
    incomplete = list((repository / "blobs").glob("*.incomplete"))
    names = [str(path.relative_to(repository / "refs")) for path in refs_in(repository)]
    revisions = [name for name in names if fetched_commit(repository, name)]
    text = f" (its revision {', '.join(revisions)} is)" if revisions else ""
    return text + (f" ({len(incomplete)} files are partly downloaded)" if incomplete else "")


def refs_in(repository: Path) -> list[Path]:
    """The files that name the commit of each branch or tag."""
    return sorted(path for path in (repository / "refs").rglob("*") if path.is_file())


def find_snapshot_faults(
    wanted: RequiredRepository, repository: Path, commit: str
) -> Iterator[str]:
    """Find faults of a snapshot by names, sizes and headers; the most certain first."""
    snapshot = repository / "snapshots" / commit
    tree = read_tree(repository, commit)
    if tree is not None:
        yield from tree_faults(wanted, snapshot, tree)
    else:
        # Without a file list of the commit, a partial download may belong to it.
        yield from (
            f"{one.name} is partly downloaded"
            for one in (repository / "blobs").glob("*.incomplete")
        )
        lost = (one for one in snapshot.rglob("*") if one.is_symlink() and not one.exists())
        yield from (f"{one.relative_to(snapshot)} is a broken link" for one in lost)
    if wanted.kind == "models":
        yield from missing_parts(snapshot, weights=wanted.reads_weights)
    elif wanted.kind == "kernels" and (listed := tree_file(repository, commit)).exists():
        yield f"{listed} makes the library report it as truncated: that list names other builds"
    elif tree is None:
        try:
            wanted.names(
                [str(one.relative_to(snapshot)) for one in list_files_under(snapshot)],
                card_of(wanted, snapshot),
            )
        except UserError as error:
            yield from error.mistakes


def tree_faults(
    wanted: RequiredRepository, snapshot: Path, tree: Mapping[str, HubFile]
) -> Iterator[str]:
    """Find files of a commit that are read and are missing or have another size."""
    try:
        names = wanted.names(list(tree), card_of(wanted, snapshot))
    except UserError as error:
        yield from error.mistakes
        return
    for name in names:
        path, size = snapshot / name, tree[name].size
        if not path.is_file():
            yield f"{name} is missing"
        elif (found := path.stat().st_size) != size:
            problem = "is truncated" if found < size else "is too long"
            yield f"{name} {problem}: {found} bytes of {size}"


def card_of(wanted: RequiredRepository, snapshot: Path) -> str:
    """The text of the card of a data set that was fetched; empty for what is no data set."""
    return read_card(snapshot) if wanted.kind == "datasets" else ""


def list_files_under(folder: Path) -> list[Path]:
    """All files under a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def shorten_faults(faults: Sequence[str]) -> list[str]:
    """The first faults, without duplicates, and the number of the others."""
    each = list(dict.fromkeys(faults))
    more = [f"and {len(each) - MAX_LISTED_FAULTS} more"] if len(each) > MAX_LISTED_FAULTS else []
    return each[:MAX_LISTED_FAULTS] + more


def format_fetch_command(overrides: Mapping[str, str]) -> str:
    """The fetch command for a login node with a network, with the overrides of a command line."""
    arguments = [f"{key}={value}" for key, value in overrides.items() if key not in NOT_FOR_FETCH]
    return shlex.join(["python", "-m", "hala_hpc.fetch", *arguments])

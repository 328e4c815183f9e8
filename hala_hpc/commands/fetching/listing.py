"""Ask the hub what a model or data set consists of, and which of its files are to be fetched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.planning.hub_dependencies import DEPENDENCY_KINDS, RequiredRepository
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.hub import (
    DEFAULT_REVISION,
    find_hub_cache,
    parse_hub_reference,
    repository_folder,
)
from hala_hpc.core.hub_tree import HubFile
from hala_hpc.core.records import HUB_INPUT

#: What the hub answers about an organization that there is not.
NOT_FOUND = 404
#: What huggingface_hub calls the kinds.
REPO_TYPES = {"models": "model", "datasets": "dataset", "kernels": "kernel"}


@dataclass(frozen=True)
class Listing:
    """The files of one commit that are read, and where they will lie."""

    wanted: RequiredRepository
    commit: str
    repository: Path
    """Folder of the model, data set or kernel in the hub cache."""
    files: Mapping[str, HubFile]
    """By path in the commit: those that are read."""

    @property
    def name(self) -> str:
        """`owner/name`."""
        return parse_hub_reference(self.wanted.reference).name

    @property
    def description(self) -> str:
        """`model owner/name@revision` for people."""
        return f"{DEPENDENCY_KINDS[self.wanted.kind]} {self.wanted.reference}"

    @property
    def repo_type(self) -> str:
        """The kind as huggingface_hub has it."""
        return REPO_TYPES[self.wanted.kind]

    @property
    def snapshot(self) -> Path:
        """Folder in which the files appear by their names."""
        return self.repository / "snapshots" / self.commit

    @property
    def missing(self) -> dict[str, HubFile]:
        """The files that are not here in their size."""
        return {name: file for name, file in self.files.items() if not self.has(name)}

    def has(self, name: str) -> bool:
        """Whether a file is here in its size."""
        path = self.snapshot / name
        return path.is_file() and path.stat().st_size == self.files[name].size

    @property
    def missing_bytes(self) -> int:
        """Bytes that have to be fetched."""
        return sum(file.size for file in self.missing.values())

    def record_commit(self) -> None:
        """Note which commit the revision means; to be called once all is here."""
        from hala_hpc.core.files import write_text

        revision = parse_hub_reference(self.wanted.reference).revision or DEFAULT_REVISION
        if revision != self.commit:
            write_text(self.repository / "refs" / revision, self.commit)


def pinned_commit(reference: str, steps: Iterable[Step]) -> str:
    """The commit of a reference that results were made of; empty if none was."""
    for step in steps:
        facts = step.inputs.get(reference)
        if facts and facts.kind == HUB_INPUT and facts.fingerprint:
            return facts.fingerprint
    return ""


def list_hub_files(
    wanted: RequiredRepository, commit: str, environment: Mapping[str, str]
) -> Listing:
    """Ask the hub for the files of a commit, and whether they may be read.

    `commit`: the one to fetch; empty for what the revision means on the hub now. Raises UserError
    where no file is of use, and what huggingface_hub raises, after its retries.
    """
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.hf_api import RepoFile

    name, revision = parse_hub_reference(wanted.reference)
    if wanted.kind == "kernels":
        require_trusted(wanted)
    repo_type = REPO_TYPES[wanted.kind]
    commit = commit or newest_commit(wanted.kind, name, revision or DEFAULT_REVISION)
    entries = HfApi().list_repo_tree(name, recursive=True, revision=commit, repo_type=repo_type)
    tree = {entry.path: make_hub_file(entry) for entry in entries if isinstance(entry, RepoFile)}
    files = {path: tree[path] for path in names_read(wanted, list(tree))}
    for path in list(files)[:1]:
        # Lists are open to all; a gated repository refuses its files, and better so before others
        # are fetched for hours.
        url = hf_hub_url(name, path, repo_type=repo_type, revision=commit)
        get_hf_file_metadata(url, retry_on_errors=True)
    repository = repository_folder(find_hub_cache(wanted.kind, environment), wanted.kind, name)
    return Listing(wanted, commit, repository, files)


def names_read(wanted: RequiredRepository, all_names: list[str]) -> list[str]:
    """Of the paths of all files those that are read. Raises UserError where none is."""
    try:
        return wanted.names(all_names)
    except UserError as error:
        description = f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}"
        raise UserError([f"{description}: {line}" for line in error.mistakes], error.code) from None


def require_trusted(wanted: RequiredRepository) -> None:
    """Raise UserError (78) for a kernel whose publisher the hub does not trust with kernels.

    A kernel runs its code in jobs, and the library `kernels` asks this only with a network.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    owner = parse_hub_reference(wanted.reference).name.partition("/")[0]
    try:
        found = HfApi().get_organization_overview(owner)
        is_trusted = bool(getattr(found, "trustedKernelPublisher", False))
    except HfHubHTTPError as error:
        # A person, or nobody.
        if error.response.status_code != NOT_FOUND:
            raise
        is_trusted = False
    if not is_trusted:
        raise UserError(
            f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}: the hub does not list {owner} among "
            "those whom it trusts to publish kernels, and a kernel runs its code in the jobs; name "
            "one of a publisher that it trusts, such as kernels-community",
            CONFIG,
        )


def make_hub_file(entry: "object") -> HubFile:
    """Size and digests of a file of huggingface_hub's list."""
    large = getattr(entry, "lfs", None)
    return HubFile(
        int(getattr(entry, "size")),  # noqa: B009
        large.sha256 if large else "",
        str(getattr(entry, "blob_id")),  # noqa: B009
    )


def newest_commit(kind: str, name: str, revision: str) -> str:
    """The commit that a revision means on the hub now; too many requests are tried again."""
    from urllib.parse import quote

    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    # HfApi.repo_info asks the same, but once only.
    url = f"{constants.ENDPOINT}/api/{kind}/{name}/revision/{quote(revision, safe='')}"
    response = http_backoff("GET", url, headers=build_hf_headers(), timeout=10)
    hf_raise_for_status(response)
    return str(response.json()["sha"])

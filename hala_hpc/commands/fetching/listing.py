"""List the files of a model, data set or kernel on the hub, and select those to be fetched."""

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
from hala_hpc.data.readers.hub_cards import CARD

#: HTTP status of the hub for an organization that does not exist.
NOT_FOUND = 404
#: huggingface_hub's names of the kinds.
REPO_TYPES = {"models": "model", "datasets": "dataset", "kernels": "kernel"}


@dataclass(frozen=True)
class Listing:
    """The files of one commit that are read, and their folder in the cache."""

    wanted: RequiredRepository
    commit: str
    repository: Path
    """Folder of the model, data set or kernel in the hub cache."""
    files: Mapping[str, HubFile]
    """Files that are read, by path in the commit."""

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
        """The kind by huggingface_hub's name."""
        return REPO_TYPES[self.wanted.kind]

    @property
    def snapshot(self) -> Path:
        """Folder in which the files appear by their names."""
        return self.repository / "snapshots" / self.commit

    @property
    def missing(self) -> dict[str, HubFile]:
        """The files that are missing or have another size."""
        return {name: file for name, file in self.files.items() if not self.has(name)}

    def has(self, name: str) -> bool:
        """Whether a file is here in its size."""
        path = self.snapshot / name
        return path.is_file() and path.stat().st_size == self.files[name].size

    @property
    def missing_bytes(self) -> int:
        """Bytes to be fetched."""
        return sum(file.size for file in self.missing.values())

    def record_commit(self) -> None:
        """Record the commit of the revision; to be called once all files are here."""
        from hala_hpc.core.files import write_text

        revision = parse_hub_reference(self.wanted.reference).revision or DEFAULT_REVISION
        if revision != self.commit:
            write_text(self.repository / "refs" / revision, self.commit)


def pinned_commit(reference: str, steps: Iterable[Step]) -> str:
    """The commit of a reference that results were made from; empty if none was."""
    for step in steps:
        facts = step.inputs.get(reference)
        if facts and facts.kind == HUB_INPUT and facts.fingerprint:
            return facts.fingerprint
    return ""


def list_hub_files(
    wanted: RequiredRepository, commit: str, environment: Mapping[str, str]
) -> Listing:
    """Query the hub for the files of a commit, and whether they may be read.

    `commit`: the one to fetch; empty for the current commit of the revision. Raises: UserError if
    no file is needed; what huggingface_hub raises, after its retries.
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
    card = ""
    if wanted.kind == "datasets" and CARD in tree:
        card = read_hub_text(hf_hub_url(name, CARD, repo_type=repo_type, revision=commit))
    files = {path: tree[path] for path in names_read(wanted, list(tree), card)}
    for path in list(files)[:1]:
        # File lists are public; a gated repository refuses its files. Find that out before others
        # are fetched for hours.
        url = hf_hub_url(name, path, repo_type=repo_type, revision=commit)
        get_hf_file_metadata(url, retry_on_errors=True)
    repository = repository_folder(find_hub_cache(wanted.kind, environment), wanted.kind, name)
    return Listing(wanted, commit, repository, files)


def read_hub_text(url: str) -> str:
    """Read a small file of the hub; HTTP 429 is retried."""
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    response = http_backoff("GET", url, headers=build_hf_headers(), timeout=10)
    hf_raise_for_status(response)
    return str(response.text)


def names_read(wanted: RequiredRepository, all_names: list[str], card: str) -> list[str]:
    """Select from the paths of all files those that are read. Raises: UserError if none is."""
    try:
        return wanted.names(all_names, card)
    except UserError as error:
        description = f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}"
        raise UserError([f"{description}: {line}" for line in error.mistakes], error.code) from None


def require_trusted(wanted: RequiredRepository) -> None:
    """Refuse a kernel whose publisher the hub does not trust to publish kernels.

    A kernel runs its code in jobs, and the library `kernels` checks this only with a network.
    Raises: UserError (CONFIG).
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    owner = parse_hub_reference(wanted.reference).name.partition("/")[0]
    try:
        found = HfApi().get_organization_overview(owner)
        is_trusted = bool(getattr(found, "trustedKernelPublisher", False))
    except HfHubHTTPError as error:
        # The owner is a user, or does not exist.
        if error.response.status_code != NOT_FOUND:
            raise
        is_trusted = False
    if not is_trusted:
        raise UserError(
            f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}: the hub does not list {owner} "
            "as a trusted publisher of kernels, and a kernel runs its code in the jobs; name one "
            "of a trusted publisher, such as kernels-community",
            CONFIG,
        )


def make_hub_file(entry: "object") -> HubFile:
    """Size and digests of a file in huggingface_hub's list."""
    large = getattr(entry, "lfs", None)
    return HubFile(
        int(getattr(entry, "size")),  # noqa: B009
        large.sha256 if large else "",
        str(getattr(entry, "blob_id")),  # noqa: B009
    )


def newest_commit(kind: str, name: str, revision: str) -> str:
    """The current commit of a revision on the hub; HTTP 429 is retried."""
    from urllib.parse import quote

    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    # HfApi.repo_info queries the same, but without retries.
    url = f"{constants.ENDPOINT}/api/{kind}/{name}/revision/{quote(revision, safe='')}"
    response = http_backoff("GET", url, headers=build_hf_headers(), timeout=10)
    hf_raise_for_status(response)
    return str(response.json()["sha"])

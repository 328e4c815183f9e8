"""Write the archive of a finished run: small files that explain it, whole or not at all."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hala_hpc import __version__
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import CANNOT_CREATE, UserError
from hala_hpc.core.file_facts import compute_file_digest
from hala_hpc.core.files import atomic_file
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.run import Run, all_nodes

#: Mode of tarfile by the end of the name.
MODES: dict[str, Literal["w", "w:gz", "w:xz"]] = {
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.xz": "w:xz",
}
MANIFEST = "MANIFEST.json"
#: Stages whose output is packed as a whole: pages and tables, scores and answers of every item.
WHOLE_STAGES = ("report", "evaluate")
#: Files of other outputs that are packed: cards, figures, curves, settings; no shard, no weights.
MAX_FILE_BYTES = 1_000_000
SUFFIXES = frozenset(
    (".json", ".jsonl", ".md", ".html", ".csv", ".tex", ".svg", ".toml", ".txt", ".yaml")
)
#: Folders of a node that are packed; files beside them are records and are packed, too.
NODE_FOLDERS = ("rounds", "attempts", "logs")
#: In the work folder.
RUN_FILES = ("run.json", "rehearsal.html", "rehearsal.md")
RUN_FOLDERS = ("page", "recipes")


class PackedFile(JsonRecord):
    """A file of an archive."""

    bytes: int
    sha256: str


class ArchiveManifest(JsonRecord):
    """`MANIFEST.json` of an archive: every other file in it."""

    version: str
    """Of hala_hpc that packed it."""
    work: str
    launch_command: str
    files: dict[str, PackedFile]


@dataclass(frozen=True)
class ArchiveFacts:
    """What was packed."""

    files: int
    size_bytes: int
    """Before compression."""


def find_archive_mode(target: Path) -> Literal["w", "w:gz", "w:xz"] | None:
    """The mode of tarfile that a name asks for; None for other names."""
    found = [mode for suffix, mode in MODES.items() if target.name.endswith(suffix)]
    return found[0] if found else None


def check_archive_name(target: Path) -> None:
    """Raise UserError for a name of another kind, or (CANNOT_CREATE) for one that is taken."""
    if find_archive_mode(target) is None:
        raise UserError(f"to={target}: end the name in {', '.join(MODES)}")
    if target.exists():
        raise UserError(f"to={target} exists: name another file, or remove it", CANNOT_CREATE)


def write_archive(run: Run, target: Path) -> ArchiveFacts:
    """Pack a run into a file that has its name once it is complete.

    Raises: OSError as the file system does.
    """
    mode = find_archive_mode(target) or "w"
    top = run.work.name or "run"
    packed: dict[str, PackedFile] = {}
    # What is written to meanwhile is no part of it: the file may stand in the work folder.
    with atomic_file(target) as temporary, tarfile.open(temporary, mode) as tar:
        for name, path in sorted(list_packed_files(run).items()):
            packed[name] = PackedFile(bytes=path.stat().st_size, sha256=compute_file_digest(path))
            tar.add(path, f"{top}/{name}", recursive=False)
        manifest = ArchiveManifest(
            version=__version__,
            work=str(run.work),
            launch_command=run.launch_command,
            files=packed,
        )
        content = manifest.to_json().encode()
        entry = tarfile.TarInfo(f"{top}/{MANIFEST}")
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    return ArchiveFacts(len(packed) + 1, sum(one.bytes for one in packed.values()))


def list_packed_files(run: Run) -> dict[str, Path]:
    """The files to pack, by their names in the archive."""
    found = {name: run.work / name for name in RUN_FILES}
    for name in RUN_FOLDERS:
        found |= dict(list_named_files(run.work / name, name))
    for path in (run.work / "publish").glob("*/README.md"):
        found[str(path.relative_to(run.work))] = path
    found["recipe/" + Path(run.recipe).name] = Path(run.recipe)
    launcher = Path(run.overrides.get("launcher", ""))
    if launcher.suffix == ".toml":
        found["launcher/" + launcher.name] = launcher
    for node in all_nodes(run):
        found |= dict(list_node_files(node.artifact, node.stage))
    return {name: path for name, path in found.items() if path.is_file() and not path.is_symlink()}


def list_node_files(artifact: Artifact, stage: str) -> Iterator[tuple[str, Path]]:
    """The files of a node to pack: records, logs, and of its output what explains it."""
    top = artifact.folder.name
    yield from ((f"{top}/{path.name}", path) for path in artifact.folder.glob("*.json"))
    for name in NODE_FOLDERS:
        yield from list_named_files(artifact.folder / name, f"{top}/{name}")
    for name, path in list_named_files(artifact.output, f"{top}/output"):
        is_small = path.suffix in SUFFIXES and path.stat().st_size <= MAX_FILE_BYTES
        if stage in WHOLE_STAGES or is_small or "metrics" in Path(name).parts:
            yield name, path


def list_named_files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Every file under a folder, with its name in the archive."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield f"{name}/{path.relative_to(folder)}", path

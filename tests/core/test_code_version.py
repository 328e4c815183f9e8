"""The code that runs is recorded: its commit, whether files differ, and a digest of them all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clones import Clone
from command_line import one_row_recipe

from hala_hpc import __version__
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import CodeVersion
from hala_hpc.core.errors import OK

#: Prints the code version of a process of a clone.
PRINT_CODE = "from hala_hpc.core.code_version import code_version; print(code_version().line())"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def code_in(folder: Path, **env: str) -> CodeVersion:
    """The code version of a process that imports the package from a folder."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_CODE],
        cwd=folder.parent,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"} | env,
        capture_output=True,
        text=True,
        check=True,
    )
    return CodeVersion.from_json(done.stdout, "code")


def test_a_clone_names_its_commit_and_whether_files_differ(clone: Clone) -> None:
    clean = code_in(clone.folder)
    assert (clean.commit, clean.uncommitted, clean.code_name) == (clone.first, False, clone.first)

    clone.append("README.md", "not code\n")
    clone.append("hala_hpc/recipes/demo.toml", "# not code\n")
    clone.append("hala_hpc/.worker.py.swp", "of an editor\n")
    assert code_in(clone.folder) == clean

    clone.append("hala_hpc/stages/mine.py", "# a new file\n")
    dirty = code_in(clone.folder)
    assert (dirty.commit, dirty.uncommitted) == (clone.first, True)
    assert dirty.code_name == f"{clone.first}+"
    assert dirty.code_digest != clean.code_digest

    second = clone.commit()
    committed = code_in(clone.folder)
    assert (committed.commit, committed.uncommitted) == (second, False)
    assert committed.code_digest == dirty.code_digest


def test_without_git_the_commit_is_known_and_whether_files_differ_is_not(
    clone: Clone,
) -> None:
    found, known = code_in(clone.folder, PATH="/nowhere"), code_in(clone.folder)
    assert (found.commit, found.uncommitted) == (clone.first, None)
    assert found.code_digest == known.code_digest


def test_files_without_a_clone_are_named_by_version_and_digest(clone: Clone) -> None:
    known = code_in(clone.folder)
    (clone.folder / ".git").rename(clone.folder / "git-was-here")
    found = code_in(clone.folder)
    assert (found.commit, found.uncommitted) == (__version__, None)
    assert found.code_digest == known.code_digest


def test_results_and_attempts_name_the_code_that_made_them(clone: Clone, tmp_path: Path) -> None:
    clone.append("hala_hpc/worker.py", "# changed by hand\n")
    ended = clone.run("stage=all", one_row_recipe(tmp_path), f"work={tmp_path}/w", "launcher=local")
    assert ended.code == OK, ended
    (folder,) = (tmp_path / "w").glob("corpus-*")
    artifact, known = Artifact(folder), code_in(clone.folder)
    marker, summary = artifact.marker(0), artifact.summary()
    assert marker is not None
    assert summary is not None
    assert (marker.commit, marker.uncommitted) == (clone.first, True)
    assert marker.code_digest == known.code_digest
    assert summary.commit == f"{clone.first}+"
    assert summary.code_digests == (known.code_digest,)
    assert summary.because == ()
    spec = artifact.require_newest_round().spec
    assert (spec.code_digest, spec.code_folder) == (known.code_digest, "")
    (record,) = folder.glob("attempts/r*.json")
    assert json.loads(record.read_text())["code_digest"] == known.code_digest

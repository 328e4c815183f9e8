"""Nothing is decided by the wording of our own messages.

The tests that are marked `kinds` run once more, in processes that import hala_hpc with every
message changed (`reworded.py`): those of failures, gates, status and doctor.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, STANDIN

WORDING = Path(__file__).parent
#: Holds the `sitecustomize` that every process of Python imports first.
sys.path.append(str(WORDING))
from reworded import OTHERS, PACKAGE, TAG  # noqa: E402 - it is beside this file

#: A module that distinguishes its own reasons by their wording, and one that writes them.
WRITER = """
def hang(seconds):
    return f"the engine hangs: no step ended in {seconds} s"
def missed(name):
    return f"{name}, which it waits for, was not finished"
"""
#: Each is true as long as no message changes.
BRANCHES = {
    "start": 'hang(3).startswith("the engine hangs")',
    "the same start": 'hang(3).startswith("the engine hangs: no step ended in ")',
    "end": 'missed("x").endswith(", which it waits for, was not finished")',
    "middle": '"no step ended" in hang(3)',
    "match": 're.match("the engine hangs", hang(3)) is not None',
    "search": 're.search("no step ended in [0-9]+", hang(3)) is not None',
    "rest": 'hang(3).removeprefix("the engine hangs: ") != hang(3)',
}


def with_changed_messages(*paths: Path) -> dict[str, str]:
    """The environment of a process that imports the package with changed messages."""
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [str(STANDIN), *map(str, paths), *filter(None, known)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(places),
        "HALA_REWORDED": str(WORDING),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_tests_of_kinds_codes_and_states_pass_with_every_message_changed() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        [*command, "-m", "kinds and not slow and not slurm"],
        cwd=ROOT,
        env=with_changed_messages(),
        capture_output=True,
        text=True,
        check=False,
        timeout=1700,
    )
    assert done.returncode == 0, done.stdout[-20_000:]


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_on_an_own_sentence_goes_wrong_with_changed_messages(
    branch: str, tmp_path: Path
) -> None:
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "writer.py").write_text(WRITER)
    reader = f"import re\nfrom {PACKAGE}.writer import hang, missed\nprint({BRANCHES[branch]})\n"
    (package / "reader.py").write_text(reader)
    command = [sys.executable, "-m", f"{PACKAGE}.reader"]
    plain = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    changed = {**with_changed_messages(tmp_path), "PYTHONSAFEPATH": "1"}
    answers = [
        subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for env in (plain, changed)
    ]
    assert answers == ["True\n", "False\n"]


def test_the_messages_of_commands_and_of_their_children_are_changed(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        f"sys.exit(subprocess.call([sys.executable, '-m', 'hala_hpc.status', 'work={tmp_path}']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=with_changed_messages(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, TAG in done.stderr) == (66, True), done


@pytest.mark.parametrize("module", OTHERS)
def test_what_stays_unchanged_is_still_there(module: str) -> None:
    path = (ROOT / PACKAGE).joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            names |= {ast.unparse(target) for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    assert OTHERS[module] <= names

"""Names of the package: one meaning each, in the terms of the field."""

import ast
import collections
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT

PACKAGE = ROOT / "hala_hpc"
#: What every command and every stage has.
SHARED = {"main", "Settings"}
#: Words that had several meanings here, or none in SLURM, vLLM and TRL. What took their place:
#: message, reason, override, fix, state, marker, placeholder, segment, split, loss, estimate,
#: minimum, maximum, fault.
RETIRED = frozenset(
    [
        "told",
        "tell",
        "tells",
        "say",
        "says",
        "said",
        "witness",
        "heed",
        "anew",
        "cure",
        "cures",
        "kept",
        "hopeless",
        "noway",
        "learnt",
        "pulse",
        "steals",
        "mark",
        "marks",
        "piece",
        "pieces",
        "reckon",
        "reckoned",
        "lie",
        "lies",
        "least",
        "most",
        "blow",
        "blows",
    ]
)
#: Folders of natural language; elsewhere a `word` was an argument, an override or a message.
ABOUT_WORDS = (
    *("hala_hpc/data", "hala_hpc/demo", "hala_hpc/engines"),
    *("tests/data", "tests/demo", "tests/engines", "tests/stages"),
    *("benchmarks/defects", "benchmarks/evaluate", "benchmarks/kills", "benchmarks/prepare"),
    *("benchmarks/protected.py", "benchmarks/real_model", "benchmarks/sft", "benchmarks/structure"),
    "benchmarks/translate",
)
#: Tests about words of a language, and this one.
WORD_TESTS = {
    "test_a_stand_in_changes_english_words_only",
    "ABOUT_WORDS",
    "WORD_TESTS",
    "words_in",
    "test_no_name_has_a_retired_word",
    "test_a_word_is_one_of_a_language",
}
FOLDERS = ("hala_hpc", "benchmarks", "tests", "docs", "slurm")


@cache
def modules(folder: Path) -> list[tuple[Path, ast.Module]]:
    paths = sorted(folder.rglob("*.py"))
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


@cache
def names_in(folder: str) -> list[tuple[str, int, str]]:
    """Path, line and name of everything that the modules of a folder name."""
    return [
        (path.relative_to(ROOT).as_posix(), line, name)
        for path, tree in modules(ROOT / folder)
        for line, name in named_here(tree)
    ]


def named_here(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module names itself."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


@cache
def words_in(name: str) -> set[str]:
    return {part.lower() for part in re.split(r"_+|(?<=[a-z0-9])(?=[A-Z])", name) if part}


def test_what_is_imported_elsewhere_has_a_name_of_its_own() -> None:
    defined, imported = collections.defaultdict(set), set()
    for path, tree in modules(PACKAGE):
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[node.name].add(path.relative_to(ROOT).as_posix())
        for inner in ast.walk(tree):
            if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("hala_hpc"):
                imported |= {alias.name for alias in inner.names}
    shared = {
        name: sorted(paths)
        for name, paths in defined.items()
        if len(paths) > 1 and name in imported - SHARED
    }
    assert not shared


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_has_a_retired_word(folder: str) -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, line, name in names_in(folder)
        if words_in(name) & RETIRED
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_word_is_one_of_a_language(folder: str) -> None:
    found = [
        f"{path}:{line}: {name}"
        for path, line, name in names_in(folder)
        if words_in(name) & {"word", "words"}
        and not path.startswith(ABOUT_WORDS)
        and name not in WORD_TESTS
    ]
    assert not found, "\n".join(found)


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "manager", "misc", "tools"}
    assert not [path for path, _ in modules(PACKAGE) if path.stem in drawers]

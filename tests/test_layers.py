"""The layers of the design, read from the imports of every file."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from checkout import ROOT

PACKAGE = ROOT / "hala_hpc"
HEAVY = {
    "torch",
    "vllm",
    "transformers",
    "datasets",
    "trl",
    "mergekit",
    "numpy",
    "pyarrow",
    "deepspeed",
    "accelerate",
    "llmcompressor",
    "lm_eval",
    "sacrebleu",
    "scipy",
    "rouge_score",
    "nltk",
    "evaluate",
    "matplotlib",
}
#: What each sub-package may import of the others, lowest layer first.
ALLOWED = {
    "core": {"core"},
    "data": {"core", "data"},
    "backends": {"core", "backends"},
    "engines": {"core", "data", "engines"},
    "demo": {"core", "data", "engines", "demo"},
    "stages": {"core", "data", "engines", "stages"},
    "jobs": {"core", "data", "engines", "backends", "jobs"},
    "commands": {"core", "data", "engines", "backends", "jobs", "commands"},
    "doctor": {"core", "data", "engines", "backends", "jobs", "commands", "doctor"},
}
#: Modules of one command or job each; they may import every sub-package.
COMMANDS = {
    "launch",
    "new",
    "fetch",
    "status",
    "logs",
    "retry",
    "cancel",
    "worker",
    "gate",
    "verify",
    "inspect",
    "publish",
    "ratings",
    "clean",
    "archive",
    "rehearsal",
    "template",
    "completion",
}


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the syntax tree of a file."""
    return tuple(ast.walk(tree_of(path)))


def imports(path: Path, top_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports, at the top or anywhere."""
    for node in tree_of(path).body if top_only else nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def own_imports(path: Path) -> Iterator[str]:
    """Dotted names of this package that a file imports, without the name of the package."""
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == PACKAGE.name and rest:
            yield rest


def test_every_file_is_in_a_sub_package_or_is_a_command() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert files == COMMANDS
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(ALLOWED)


def test_no_import_points_upwards() -> None:
    wrong = []
    for layer, allowed in ALLOWED.items():
        for path in (PACKAGE / layer).rglob("*.py"):
            for name in own_imports(path):
                if name.split(".")[0] not in allowed:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_nothing_imports_a_command() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in PACKAGE.rglob("*.py")
        for name in own_imports(path)
        if name.split(".")[0] in COMMANDS
    ]
    assert wrong == []


def test_files_do_not_import_each_other_in_a_circle() -> None:
    files = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    graph = TopologicalSorter(
        {module: files.keys() & set(own_imports(path)) for module, path in files.items()}
    )
    graph.prepare()  # raises CycleError, which names the circle


def module_of(path: Path) -> str:
    """The dotted name of a file without the name of the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def test_core_needs_the_standard_library_and_pydantic_only() -> None:
    import sys

    known = sys.stdlib_module_names | {"pydantic", "pydantic_core", "hala_hpc"}
    found = {
        name.split(".")[0] for path in (PACKAGE / "core").glob("*.py") for name in imports(path)
    }
    assert found - known == set()


def test_no_heavy_library_is_imported_at_the_top_of_a_file() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in imports(path, top_only=True)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_only_commands_print() -> None:
    commands = {PACKAGE / f"{name}.py" for name in ("worker", "gate")}
    packages = ("core", "data", "backends", "engines", "stages", "jobs")
    # Its answer is read by the process that started it.
    data = PACKAGE / "jobs" / "node_health_probe.py"
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in commands.union(*((PACKAGE / name).rglob("*.py") for name in packages)) - {data}
        for node in nodes_of(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert wrong == []


def texts_of(path: Path) -> Iterator[str]:
    """The strings of a file but its docstrings, and what it imports from others."""
    prose = {id(n.value) for n in nodes_of(path) if isinstance(n, ast.Expr)}
    for node in nodes_of(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
    yield from (name for name in imports(path) if not name.startswith(PACKAGE.name))


def test_slurm_terms_are_in_the_slurm_backend_only() -> None:
    terms = ("submitit", "SBATCH_", "#SBATCH", "squeue", "sacct", "scontrol", "scancel")
    wrong = [
        f"{path.relative_to(PACKAGE)}: {term}"
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE / "backends" / "slurm"
        for text in texts_of(path)
        for term in terms
        if term in text
    ]
    assert wrong == []

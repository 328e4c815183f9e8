"""The layers of the design, read from the imports of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "hala_hpc"
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
    "rouge_score",
}
#: What a layer may import of the others; the top (launch, worker, ...) may import all.
ALLOWED = {
    "core": {"core"},
    "data": {"core", "data"},
    "demo": {"core", "data", "demo"},
    "engines": {"core", "data", "engines"},
    "stages": {"core", "data", "demo", "engines", "stages"},
    "backends": {"core", "backends"},
    "jobs": {"core", "data", "engines", "backends", "jobs"},
}


def imports(path: Path, top_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports, at the top or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_import_points_upwards() -> None:
    wrong = []
    for layer, allowed in ALLOWED.items():
        for path in (PACKAGE / layer).rglob("*.py"):
            for name in imports(path):
                parts = name.split(".")
                if parts[0] == "hala_hpc" and len(parts) > 1 and parts[1] not in allowed:
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


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


def test_slurm_words_stand_in_the_slurm_backend_only() -> None:
    words = ("submitit", "SBATCH_", "#SBATCH", "squeue", "sacct", "scontrol", "scancel")
    wrong = [
        f"{path.relative_to(PACKAGE)}: {word}"
        for path in PACKAGE.rglob("*.py")
        if not (path.parent.name == "backends" and path.name.startswith("slurm"))
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert wrong == []

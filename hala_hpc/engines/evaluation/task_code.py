"""Find what the Python files of tasks download, by parsing their source without running it."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Names under which tasks import the library `evaluate`.
EVALUATE_NAMES = ("evaluate", "hf_evaluate")
#: nltk functions that need the data package `punkt_tab` (nltk 3.9 and later).
NLTK_TOKENIZERS = ("sent_tokenize", "word_tokenize")
NLTK_TOKENIZER_DATA = "punkt_tab"


@dataclass(frozen=True)
class CodeNeeds:
    """What source files name."""

    data_sets: frozenset[tuple[str, str | None]]
    """`owner/name` and configuration of every `load_dataset` with literal arguments."""
    metrics: frozenset[str]
    """Arguments of `evaluate.load`."""
    language_data: frozenset[str]
    """Packages in `nltk.download` and `nltk.data.find`."""


def read_code(files: Iterable[Path], package: Path) -> CodeNeeds:
    """Parse Python files and those that they import; files that are not Python are skipped.

    `package`: folder of lm-eval's own tasks; only imports from it or from the file's folder are
    followed.
    """
    seen: set[Path] = set()
    waiting = list(files)
    calls: list[ast.Call] = []
    while waiting:
        path = waiting.pop().resolve()
        if path in seen:
            continue
        seen.add(path)
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                calls.append(node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                waiting += imported_files(node, path, package)
    return read_calls(calls)


def imported_files(node: ast.Import | ast.ImportFrom, path: Path, package: Path) -> Iterator[Path]:
    """Task files that an import statement in the file `path` imports."""
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    else:
        # `from . import a` names files, `from .a import b` names objects in one.
        base = node.module or ""
        modules = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
    level = node.level if isinstance(node, ast.ImportFrom) else 0
    for module in filter(None, modules):
        if module.startswith("lm_eval.tasks."):
            file = package / f"{module.removeprefix('lm_eval.tasks.').replace('.', '/')}.py"
        else:
            file = path.parents[max(0, level - 1)] / f"{module.replace('.', '/')}.py"
        if file.is_file():
            yield file


def read_calls(calls: Iterable[ast.Call]) -> CodeNeeds:
    """Collect what calls name with literal arguments."""
    data_sets, metrics, language_data = set(), set(), set()
    for call in calls:
        owner, function = split_call_name(call.func)
        arguments = [one.value if isinstance(one, ast.Constant) else None for one in call.args]
        first = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        if function == "load_dataset" and "/" in first:
            name = arguments[1] if len(arguments) > 1 else constant_of(call, "name")
            data_sets.add((first, name if isinstance(name, str) else None))
        elif function == "load" and owner in EVALUATE_NAMES and first:
            metrics.add(first)
        elif (owner, function) in (("nltk", "download"), ("data", "find")) and first:
            language_data.add(first.rpartition("/")[2])
        elif function in NLTK_TOKENIZERS:
            language_data.add(NLTK_TOKENIZER_DATA)
    return CodeNeeds(frozenset(data_sets), frozenset(metrics), frozenset(language_data))


def split_call_name(function: ast.expr) -> tuple[str, str]:
    """The last two names of the called function: `("data", "find")` of `nltk.data.find`."""
    if isinstance(function, ast.Name):
        return "", function.id
    if not isinstance(function, ast.Attribute):
        return "", ""
    owner = function.value
    if isinstance(owner, ast.Name):
        return owner.id, function.attr
    return (owner.attr if isinstance(owner, ast.Attribute) else ""), function.attr


def constant_of(call: ast.Call, name: str) -> object:
    """The literal value of a keyword argument; None if it is missing or not a literal."""
    values = [one.value for one in call.keywords if one.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None

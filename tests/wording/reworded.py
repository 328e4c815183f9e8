"""Import hala_hpc with every message changed, so that what is decided by a message goes wrong.

After `install()`, which `../standin/sitecustomize.py` calls where HALA_REWORDED names this folder,
each string literal of the package that holds a blank and a letter is another one: between its words
and at its end is a tag, another one at each place of the source. Docstrings, types and formats of
numbers are no messages; what other programs read or write stays as it is and is listed here by
name.
"""

import ast
import importlib.machinery
import importlib.util
import re
import sys
import zlib
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import CodeType, ModuleType

#: Letters that no message and no name holds; a number of the place follows.
TAG = "qx"
PACKAGE = "hala_hpc"
#: Functions of libraries whose literals are patterns, formats or types.
LIBRARY_CALLS = {
    "re.compile",
    "re.findall",
    "re.fullmatch",
    "re.match",
    "re.search",
    "re.split",
    "re.sub",
    "strftime",
    "strptime",
    "execute",
    "executemany",
    "cast",
    "TypeVar",
}
#: Constants and functions whose literals are messages, formats or scripts of other programs, or
#: data: by module, without the name of the package.
OTHERS: dict[str, set[str]] = {
    # Shell scripts and programs that jobs and nodes run.
    "backends.local": {"SHELL", "CODE_FIRST"},
    "backends.slurm.srun_probe": {"SHELL", "NO_NODE", "message"},
    "doctor.environments": {"PACKAGES_SCRIPT", "code"},
    # C.
    "jobs.gpu_set_up": {"PLAIN", "WITH_PYTHON"},
    # What git writes, and its files.
    "core.code_version": {"query_git", "commit_in_files"},
    # SQL.
    "engines.generation.answer_cache": {"__init__"},
    # Messages of SLURM.
    "backends.slurm.backend": {"answers"},
    "backends.slurm.client": {"is_unreachable", "squeue"},
    "backends.slurm.pending_reasons": {"PREFIXES"},
    # Messages of CUDA, torch, vLLM, NCCL and gloo.
    "core.out_of_memory": {"TORCH_PHRASES", "ALLOCATOR_PHRASES"},
    "engines.training.collectives": {"LOST_PEER_PHRASES"},
    "jobs.failures.classify": {"NODE_PATTERNS", "SET_UP_PATTERNS"},
    # What pydantic reports, and what Linux writes into /proc/cpuinfo.
    "core.recipe": {"describe_setting_error"},
    "engines.models.compile_cache": {"processor"},
    # Places of matplotlib.
    "engines.reporting.funnel": {"LEGEND_PLACE"},
    # The head of a log, which is written and parsed in one file.
    "jobs.log_file": {"format_log_head"},
    # Data: vocabularies, templates of chats, tasks of lm-eval.
    "data.text.scripts": {"_SCRIPTS"},
    "demo.benchmark": {"TASK_YAML"},
    "demo.rows": {"SYSTEM"},
    "demo.tokenizer": {"CHATML", "COMMAND", "FAMILIES"},
    "demo.words": {"lexicon", "indefinite_article"},
}


def reworded(text: str, place: str) -> str:
    """Another wording of a message; what holds no blank, or no letter, is no message."""
    if " " not in text or not any(letter.isalpha() for letter in text):
        return text
    tag = f"{TAG}{zlib.crc32(place.encode()):x}"
    return re.sub(r"(?<=\w) (?=\w)", f" {tag} ", text) + f" {tag} "


class Rewording(ast.NodeTransformer):
    """Changes the messages of one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.unchanged = OTHERS.get(module, set())

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            place = f"{self.module}:{node.lineno}:{node.col_offset}"
            return ast.copy_location(ast.Constant(reworded(node.value, place)), node)
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        # Not its format.
        node.value = self.visit(node.value)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        # A docstring.
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func)
        is_library = name in LIBRARY_CALLS or name.rpartition(".")[2] in LIBRARY_CALLS
        return node if is_library else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name not in self.unchanged:
            node.body = [self.visit(one) for one in node.body]
            node.args.defaults = [self.visit(one) for one in node.args.defaults]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None and ast.unparse(node.target) not in self.unchanged:
            node.value = self.visit(node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        names = {ast.unparse(target) for target in node.targets}
        return node if names & self.unchanged else self.generic_visit(node)


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles a module of the package from its changed source, and caches nothing."""

    def get_code(self, fullname: str) -> CodeType:
        source, path = self.get_data(self.path), self.path
        module = fullname.removeprefix(f"{PACKAGE}.")
        tree = Rewording(module).visit(ast.parse(source, path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds the modules of the package before others do."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader, spec.cached = Loader(fullname, spec.loader.path), None
        return spec


def install() -> None:
    """Change the messages of all modules that are imported from now on."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


def is_installed() -> bool:
    """Whether messages are changed in this process."""
    return any(type(finder).__name__ == Finder.__name__ for finder in sys.meta_path)

"""Pages of the reference about classes: exit codes, failures, exceptions, records on the disk."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

from failures_table import member_docs
from pydantic import BaseModel
from reference_settings import MADE, escape_markdown

from hala_hpc.commands.help import field_docs, type_name
from hala_hpc.core import errors, job_records, records
from hala_hpc.core.errors import FailureClass, TransientError, UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.jobs.failures.policy import POLICY


def exit_code_page() -> str:
    """Every exit code with its meaning, from the constants of core/errors.py."""
    lines = [
        "# Exit codes",
        "",
        f"{MADE}Commands and jobs end with these codes, which are those of sysexits.h. The message",
        "on stderr names the setting, its value and the fix; nothing depends on its wording.",
        "",
        "| code | name | meaning | what to do |",
        "| --- | --- | --- | --- |",
        *(f"| {code} | {name} | {meaning} | {fix} |" for code, name, meaning, fix in exit_codes()),
    ]
    return "\n".join(lines) + "\n"


def exit_codes() -> Iterator[tuple[int, str, str, str]]:
    """Code, name, meaning and fix of each constant, from the text under it."""
    body = ast.parse(inspect.getsource(errors)).body
    for node, text in pairwise(body):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if not isinstance(text, ast.Expr) or not isinstance(text.value, ast.Constant):
            continue
        code = node.value.value
        if isinstance(code, int):
            meaning, _, fix = " ".join(str(text.value.value).split()).partition(": ")
            yield code, ast.unparse(node.targets[0]), meaning, fix.rstrip(".")


def failure_page() -> str:
    """Every class of failures and every exception that carries one."""
    lines = [
        "# Failure classes and exceptions",
        "",
        f"{MADE}What follows a failure depends on its class, never on the wording of a message.",
        "How each class is recognized, and what follows, is on the page",
        "[failures](../failures.md).",
        "",
        "## Classes",
        "",
        *(failure_item(kind) for kind in FailureClass),
        "",
        "## Exceptions that a user can fix",
        "",
        *(item for item in exception_items(UserError)),
        "",
        "## Exceptions after which another attempt may succeed",
        "",
        "The worker ends with code 75.",
        "",
        *(item for item in exception_items(TransientError)),
    ]
    return "\n".join(lines) + "\n"


def failure_item(kind: FailureClass) -> str:
    """A class with its meaning in the policy."""
    more = member_docs(FailureClass).get(kind.name, "")
    return f"- `{kind}`: {POLICY[kind].meaning}." + (f" {more}" if more else "")


def exception_items(base: type[Exception]) -> Iterator[str]:
    """An item for an exception and for each that derives from it."""
    found = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, base)]
    for one in found:
        about = " ".join(inspect.cleandoc(one.__doc__ or "").split())
        kind = getattr(one, "kind", None) or getattr(one, "default_kind", None)
        carries = f" Its class is `{kind}`." if isinstance(kind, FailureClass) else ""
        yield f"- `{one.__name__}`: {escape_markdown(about)}{carries}"


def record_page() -> str:
    """Every type of core/records.py and core/job_records.py with its fields."""
    lines = [
        "# Records of a work folder",
        "",
        f"{MADE}The JSON files of a work folder are these types, each with one reader and one",
        "writer. Who writes and reads a file, and what follows if it is removed or damaged, is on",
        "the page [work folder](../work-folder.md).",
        "",
    ]
    for module in (records, job_records):
        for name, record in record_types(module):
            lines += [f"## {name}", "", escape_markdown(about_class(record)), ""]
            lines += [*field_items(record), ""]
    return "\n".join(lines)


def record_types(module: ModuleType) -> list[tuple[str, type[JsonRecord]]]:
    """The records that a module defines, in their order."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, JsonRecord)
        and value.__module__ == module.__name__
    ]


def about_class(record: type[JsonRecord]) -> str:
    """The docstring of a record, and the fix of one that is damaged."""
    about = inspect.cleandoc(record.__doc__ or "")
    own = "fix" in vars(record)
    return f"{about}\n\nIf it is damaged: {record.fix}." if own else about


def field_items(record: type[BaseModel]) -> Iterator[str]:
    """An item for each field of a record."""
    texts = field_docs(record)
    for name, info in record.model_fields.items():
        text = escape_markdown(texts.get(name, ""))
        kind = escape_markdown(type_name(info.annotation, info.metadata))
        yield f"- `{name}`: {kind}" + (f". {text}" if text else "")

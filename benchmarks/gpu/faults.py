"""Exceptions of one part after which other parts may succeed: memory, kernels, packages."""

from importlib.util import find_spec

from hala_hpc.core.errors import UserError

#: Out of memory, a missing kernel or one that does not compile, refused settings.
FAULTS = (
    RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, AssertionError,
    OSError, UserError,
)  # fmt: skip


def faults() -> tuple[type[Exception], ...]:
    """Return all of them, and those of Triton, which derive from no builtin exception."""
    if find_spec("triton") is None:
        return FAULTS
    from triton import TritonError

    return (*FAULTS, TritonError)


def summarize_fault(error: Exception) -> str:
    """Return type and first line of an exception."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

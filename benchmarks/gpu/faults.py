"""With what a piece of work fails that another may get past: memory, kernels, packages."""

from importlib.util import find_spec

from hala_hpc.core.errors import UserError

#: Too little memory, a kernel that is not there or does not compile, settings that are refused.
FAULTS = (
    RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, AssertionError,
    OSError, UserError,
)  # fmt: skip


def faults() -> tuple[type[Exception], ...]:
    """All of them, those of Triton among them, which are of no kind of Python's own."""
    if find_spec("triton") is None:
        return FAULTS
    from triton import TritonError

    return (*FAULTS, TritonError)


def summarize_fault(error: Exception) -> str:
    """Kind and first line of an error."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"

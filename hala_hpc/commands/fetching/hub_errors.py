"""What the hub's library raises, as mistakes with their cures. No token is ever told."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from hala_hpc.commands.planning.hub_dependencies import DEPENDENCY_KINDS, RequiredRepository
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import CANNOT_CREATE, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import parse_hub_reference

#: Large files lie on hosts of their own, which a proxy may not know.
PLAIN_HTTP = (
    "if this is about Xet storage, HF_HUB_DISABLE_XET=1 before the line asks for its files over "
    "plain HTTP"
)
RESUME_HINT = "what is fetched is kept, and the same line goes on from here"


@contextmanager
def translate_hub_errors(wanted: RequiredRepository) -> Iterator[None]:
    """Raise UserError for what huggingface_hub raises inside.

    66: the hub does not have it, or not for this user. 69: it cannot be reached. 73: the disk.
    """
    import httpx2
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise translate_hub_answer(wanted, error) from error
    except (EntryNotFoundError, httpx2.HTTPError) as error:
        raise make_unreachable_error(wanted, describe_exception(error)) from error
    except RuntimeError as error:
        # What hf_xet raises for all that is neither a missing file nor a refused token.
        raise make_unreachable_error(
            wanted, f"{describe_exception(error)}; {PLAIN_HTTP}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{describe_repository(wanted)}: the disk of the hub cache is full; make room, {RESUME_HINT}"
            raise UserError(message, CANNOT_CREATE) from error
        if error.errno is None:
            # A file came in another size than the hub tells, or Xet storage refused it.
            raise make_unreachable_error(
                wanted, f"{describe_exception(error)}; {PLAIN_HTTP}"
            ) from error
        user_error = convert_os_error(error)
        mistakes = [f"{describe_repository(wanted)}: {line}" for line in user_error.mistakes]
        raise UserError(mistakes, CANNOT_CREATE) from error


def translate_hub_answer(wanted: RequiredRepository, error: "Exception") -> UserError:
    """The mistake behind an answer of the hub other than what was asked for."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = parse_hub_reference(wanted.reference)
    status = getattr(getattr(error, "response", None), "status_code", None)
    log_in = "log in with `hf auth login`, which keeps the token in the hub's own store"
    if isinstance(error, GatedRepoError):
        message = (
            f"is open only to those who accepted its terms: accept them on {hub_page_url(wanted)}, "
            f"{log_in}, and give the same line again"
        )
    elif status == 403:
        message = (
            f"may not be read with this token: ask its owner on {hub_page_url(wanted)}, or let the "
            f"token read it (a fine-grained one names what it reads), and {log_in}"
        )
    elif isinstance(error, RevisionNotFoundError):
        message = (
            f"has no revision {revision or 'main'!r}; {hub_page_url(wanted)}/tree/main lists them"
        )
    elif isinstance(error, RemoteEntryNotFoundError):
        message = f"lost a file while it was fetched; {RESUME_HINT}"
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        message = (
            f"is not on the hub, or not for you: look at {hub_page_url(wanted)}; if {name} is private, "
            f"{log_in}"
        )
    elif status == 429:
        return make_unreachable_error(
            wanted, "the hub refuses more requests for now (429): wait some minutes"
        )
    else:
        return make_unreachable_error(wanted, describe_exception(error))
    return UserError(f"{describe_repository(wanted)} {message}", NO_INPUT)


def make_unreachable_error(wanted: RequiredRepository, reason: str) -> UserError:
    """The hub could not be asked, or the line broke more often than it was mended."""
    from huggingface_hub import constants

    return UserError(
        f"{describe_repository(wanted)} cannot be fetched from {constants.ENDPOINT}: {reason}; {RESUME_HINT}",
        UNAVAILABLE,
    )


def hub_page_url(wanted: RequiredRepository) -> str:
    """The page of a model, data set or kernel."""
    from huggingface_hub import constants

    folder = "" if wanted.kind == "models" else f"{wanted.kind}/"
    return f"{constants.ENDPOINT}/{folder}{parse_hub_reference(wanted.reference).name}"


def describe_repository(wanted: RequiredRepository) -> str:
    """`model owner/name`."""
    return f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}"


def describe_exception(error: Exception) -> str:
    """What a library says, its kind before it, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"

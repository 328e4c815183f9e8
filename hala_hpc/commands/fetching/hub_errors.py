"""Translate errors of huggingface_hub into mistakes with fixes. Tokens are never printed."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from hala_hpc.commands.planning.hub_dependencies import DEPENDENCY_KINDS, RequiredRepository
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import CANNOT_CREATE, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import parse_hub_reference

#: Large files are on hosts of their own, which a proxy may not allow.
PLAIN_HTTP = (
    "if this is about Xet storage, set HF_HUB_DISABLE_XET=1 before the command to fetch over plain "
    "HTTP"
)
RESUME_HINT = "fetched files are kept; run the same command again to resume"


@contextmanager
def translate_hub_errors(wanted: RequiredRepository) -> Iterator[None]:
    """Translate what huggingface_hub raises inside.

    Raises: UserError (NO_INPUT) if the hub does not have the repository or refuses it to this user,
    (UNAVAILABLE) if the hub cannot be reached, (CANNOT_CREATE) if the disk cannot be written.
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
        # hf_xet raises it for everything but a missing file and a refused token.
        raise make_unreachable_error(
            wanted, f"{describe_exception(error)}; {PLAIN_HTTP}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = (
                f"{describe_repository(wanted)}: the disk of the hub cache is full; free some "
                f"space; {RESUME_HINT}"
            )
            raise UserError(message, CANNOT_CREATE) from error
        if error.errno is None:
            # The size of a file differs from the hub's, or Xet storage refused the file.
            raise make_unreachable_error(
                wanted, f"{describe_exception(error)}; {PLAIN_HTTP}"
            ) from error
        user_error = convert_os_error(error)
        mistakes = [f"{describe_repository(wanted)}: {line}" for line in user_error.mistakes]
        raise UserError(mistakes, CANNOT_CREATE) from error


def translate_hub_answer(wanted: RequiredRepository, error: "Exception") -> UserError:
    """Translate an error response of the hub."""
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
            f"is gated: accept its terms on {hub_page_url(wanted)}, {log_in}, and run the same "
            "command again"
        )
    elif status == 403:
        message = (
            f"cannot be read with this token: ask its owner on {hub_page_url(wanted)}, or let the "
            f"token read it (a fine-grained token lists what it may read), and {log_in}"
        )
    elif isinstance(error, RevisionNotFoundError):
        message = (
            f"has no revision {revision or 'main'!r}; {hub_page_url(wanted)}/tree/main lists them"
        )
    elif isinstance(error, RemoteEntryNotFoundError):
        message = f"lost a file on the hub during the download; {RESUME_HINT}"
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        message = (
            f"is not on the hub, or not visible to you: see {hub_page_url(wanted)}; if {name} is "
            f"private, {log_in}"
        )
    elif status == 429:
        return make_unreachable_error(wanted, "the hub limits requests (429): wait some minutes")
    else:
        return make_unreachable_error(wanted, describe_exception(error))
    return UserError(f"{describe_repository(wanted)} {message}", NO_INPUT)


def make_unreachable_error(wanted: RequiredRepository, reason: str) -> UserError:
    """The hub could not be reached, or the connection failed more often than it was retried."""
    from huggingface_hub import constants

    return UserError(
        f"{describe_repository(wanted)} cannot be fetched from {constants.ENDPOINT}: {reason}; "
        f"{RESUME_HINT}",
        UNAVAILABLE,
    )


def hub_page_url(wanted: RequiredRepository) -> str:
    """URL of the page of a model, data set or kernel."""
    from huggingface_hub import constants

    folder = "" if wanted.kind == "models" else f"{wanted.kind}/"
    return f"{constants.ENDPOINT}/{folder}{parse_hub_reference(wanted.reference).name}"


def describe_repository(wanted: RequiredRepository) -> str:
    """Format `model owner/name`."""
    return f"{DEPENDENCY_KINDS[wanted.kind]} {wanted.reference}"


def describe_exception(error: Exception) -> str:
    """Format an exception of a library on one line: type and first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"

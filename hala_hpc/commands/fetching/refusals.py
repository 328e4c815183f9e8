"""What the hub's library raises, as mistakes with their cures. No token is ever told."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from hala_hpc.commands.planning.hub_pieces import PIECE_KINDS, Wanted
from hala_hpc.core.damage import error_of_system
from hala_hpc.core.errors import CANNOT_CREATE, NO_INPUT, UNAVAILABLE, UserError
from hala_hpc.core.hub import hub_reference

#: Large files lie on hosts of their own, which a proxy may not know.
PLAIN_HTTP = (
    "if this is about Xet storage, HF_HUB_DISABLE_XET=1 before the line asks for its files over "
    "plain HTTP"
)
GOES_ON = "what is fetched is kept, and the same line goes on from here"


@contextmanager
def told_refusals(wanted: Wanted) -> Iterator[None]:
    """Raise UserError for what huggingface_hub raises inside.

    66: the hub does not have it, or not for this user. 69: it cannot be reached. 73: the disk.
    """
    import httpx2
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise answer_of_hub(wanted, error) from error
    except (EntryNotFoundError, httpx2.HTTPError) as error:
        raise unreachable(wanted, first_line(error)) from error
    except RuntimeError as error:
        # What hf_xet raises for all that is neither a missing file nor a refused token.
        raise unreachable(wanted, f"{first_line(error)}; {PLAIN_HTTP}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            told = f"{named(wanted)}: the disk of the hub cache is full; make room, {GOES_ON}"
            raise UserError(told, CANNOT_CREATE) from error
        if error.errno is None:
            # A file came in another size than the hub tells, or Xet storage refused it.
            raise unreachable(wanted, f"{first_line(error)}; {PLAIN_HTTP}") from error
        told_by_system = error_of_system(error)
        mistakes = [f"{named(wanted)}: {line}" for line in told_by_system.mistakes]
        raise UserError(mistakes, CANNOT_CREATE) from error


def answer_of_hub(wanted: Wanted, error: "Exception") -> UserError:
    """The mistake behind an answer of the hub other than what was asked for."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = hub_reference(wanted.reference)
    status = getattr(getattr(error, "response", None), "status_code", None)
    log_in = "log in with `hf auth login`, which keeps the token in the hub's own store"
    if isinstance(error, GatedRepoError):
        told = (
            f"is open only to those who accepted its terms: accept them on {page_of(wanted)}, "
            f"{log_in}, and give the same line again"
        )
    elif status == 403:
        told = (
            f"may not be read with this token: ask its owner on {page_of(wanted)}, or let the "
            f"token read it (a fine-grained one names what it reads), and {log_in}"
        )
    elif isinstance(error, RevisionNotFoundError):
        told = f"has no revision {revision or 'main'!r}; {page_of(wanted)}/tree/main lists them"
    elif isinstance(error, RemoteEntryNotFoundError):
        told = f"lost a file while it was fetched; {GOES_ON}"
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        told = (
            f"is not on the hub, or not for you: look at {page_of(wanted)}; if {name} is private, "
            f"{log_in}"
        )
    elif status == 429:
        return unreachable(wanted, "the hub refuses more requests for now (429): wait some minutes")
    else:
        return unreachable(wanted, first_line(error))
    return UserError(f"{named(wanted)} {told}", NO_INPUT)


def unreachable(wanted: Wanted, why: str) -> UserError:
    """The hub could not be asked, or the line broke more often than it was mended."""
    from huggingface_hub import constants

    return UserError(
        f"{named(wanted)} cannot be fetched from {constants.ENDPOINT}: {why}; {GOES_ON}",
        UNAVAILABLE,
    )


def page_of(wanted: Wanted) -> str:
    """The page of a model, data set or kernel."""
    from huggingface_hub import constants

    folder = "" if wanted.kind == "models" else f"{wanted.kind}/"
    return f"{constants.ENDPOINT}/{folder}{hub_reference(wanted.reference).name}"


def named(wanted: Wanted) -> str:
    """`model owner/name`."""
    return f"{PIECE_KINDS[wanted.kind]} {wanted.reference}"


def first_line(error: Exception) -> str:
    """What a library says, its kind before it, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"

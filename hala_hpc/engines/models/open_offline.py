"""Open a model offline as jobs do, except for its weights, to check that no file is missing."""

from hala_hpc.core.errors import UserError
from hala_hpc.engines.models.files import local_model, require_model


def open_model(reference: str, weights: bool) -> None:
    """Load configuration and tokenizer with transformers; of weights read names and headers.

    `reference` is a folder or a hub reference that was fetched.

    Raises: UserError (NO_INPUT) if a file is missing.
    """
    from transformers import AutoConfig, AutoTokenizer

    from hala_hpc.engines.models.vocabulary import require_vocabulary

    folder = local_model(reference)
    if weights:
        require_model(str(folder))
    AutoConfig.from_pretrained(folder)
    AutoTokenizer.from_pretrained(folder)
    if weights:
        require_vocabulary(folder)


def opening_fault(reference: str, weights: bool) -> list[str]:
    """Return a line for each error when a model is opened; empty if there is none."""
    try:
        open_model(reference, weights)
    except UserError as error:
        return [f"model {reference}: {line}" for line in error.mistakes]
    except Exception as error:  # noqa: BLE001
        # Any error of a library about a damaged file: a job would fail in the same way.
        lines = [line for line in str(error).splitlines() if line.strip()]
        text = lines[0] if lines else "no text"
        return [f"model {reference}: cannot be opened: {type(error).__name__}: {text}"]
    return []

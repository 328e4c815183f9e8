"""Open a model as jobs do, but for its weights: is all there that its libraries ask for?"""

from hala_hpc.core.errors import UserError
from hala_hpc.engines.models.files import local_model, require_model


def open_model(reference: str, weights: bool) -> None:
    """Read configuration and tokenizer of a model by transformers; of weights names and headers.

    `reference`: a folder or a reference to the hub that was fetched. Raises UserError (66).
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
    """What keeps a model from being opened, a line each; empty when it can be."""
    try:
        open_model(reference, weights)
    except UserError as error:
        return [f"model {reference}: {line}" for line in error.mistakes]
    except Exception as error:  # noqa: BLE001
        # Whatever a damaged file makes its library raise: a job would die of the same.
        lines = [line for line in str(error).splitlines() if line.strip()]
        text = lines[0] if lines else "no text"
        return [f"model {reference}: cannot be opened: {type(error).__name__}: {text}"]
    return []

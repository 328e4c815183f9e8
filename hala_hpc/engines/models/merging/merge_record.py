"""What a merge did: `merge.json` beside the weights."""

from hala_hpc.core.record import JsonRecord

MERGE_FILE = "merge.json"


class KindChange(JsonRecord):
    """How far the tuned models are from the base, in the layers of a kind; a number a model."""

    kind: str
    tensors: int
    weights: int
    angle_degrees: tuple[float, ...]
    """Between base and model, all tensors of the kind as one vector."""
    relative_change: tuple[float, ...]
    """Length of the difference by the length of the base."""
    linear_share: float | None = None
    """Share of the weights where slerp took the chord for the arc; None for other methods."""


class ModelPerplexity(JsonRecord):
    """Perplexity of a model on the held-out rows."""

    model: str
    """`merged`, or the parent as the settings name it."""
    perplexity: float
    rows: int
    tokens: int


class TrialRecord(JsonRecord):
    """What the merged model did when it was tried."""

    loaded_in: tuple[str, ...] = ()
    """Libraries that have loaded it, and in which it has answered."""
    prompt: str = ""
    answer: str = ""
    """Its greedy answer, the first tokens of it."""
    perplexities: tuple[ModelPerplexity, ...] = ()


class MergeRecord(JsonRecord):
    """Parents, method, and what was found."""

    method: str
    parameters: dict[str, str]
    base: str
    models: tuple[str, ...]
    dtype: str
    weights: int
    tensors: int
    changes: tuple[KindChange, ...]
    """Each kind of layer, and `all` in the end."""
    bytes_read: int
    """Of all parents together, in the pass that made it."""
    merged_in_pass: int
    """Models that were made in that pass."""
    trial: TrialRecord = TrialRecord()

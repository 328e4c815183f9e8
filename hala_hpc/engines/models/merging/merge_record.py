"""The record of a merge: `merge.json` beside the weights."""

from hala_hpc.core.record import JsonRecord

MERGE_FILE = "merge.json"


class KindChange(JsonRecord):
    """Distances of the tuned models from the base, in the layers of a kind; one for each model."""

    kind: str
    tensors: int
    weights: int
    angle_degrees: tuple[float, ...]
    """Between base and model, all tensors of the kind as one vector."""
    relative_change: tuple[float, ...]
    """Length of the difference divided by the length of the base."""
    linear_share: float | None = None
    """Share of the weights that slerp interpolated linearly; None for other methods."""


class ModelPerplexity(JsonRecord):
    """Perplexity of a model on the held-out rows."""

    model: str
    """`merged`, or the parent as the settings name it."""
    perplexity: float
    rows: int
    tokens: int


class TrialRecord(JsonRecord):
    """Result of the trial of the merged model."""

    loaded_in: tuple[str, ...] = ()
    """Libraries that have loaded it, and in which it has answered."""
    prompt: str = ""
    answer: str = ""
    """The first tokens of its greedy answer."""
    perplexities: tuple[ModelPerplexity, ...] = ()


class MergeRecord(JsonRecord):
    """Parents, method and measurements."""

    method: str
    parameters: dict[str, str]
    base: str
    models: tuple[str, ...]
    dtype: str
    weights: int
    tensors: int
    changes: tuple[KindChange, ...]
    """Each kind of layer, `all` last."""
    bytes_read: int
    """Of all parents together, in the pass that made it."""
    merged_in_pass: int
    """Models that were made in that pass."""
    trial: TrialRecord = TrialRecord()

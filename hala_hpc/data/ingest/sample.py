"""Draw a sample of the accepted rows: by their content, not by their place in the data."""

from collections.abc import Sequence
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.ingest.damage_settings import RowSample
from hala_hpc.data.ingest.quality_settings import NOT_SAMPLED
from hala_hpc.data.ingest.row_searches import PLACES
from hala_hpc.data.ingest.spill import SpilledSplit
from hala_hpc.data.ingest.spilled_columns import is_good, row_ids

#: Odd numbers of splitmix64, which spread the bits of a seed and of an id.
INCREMENT, FIRST_FACTOR, SECOND_FACTOR = (
    0x9E3779B97F4A7C15,
    0xBF58476D1CE4E5B9,
    0x94D049BB133111EB,
)


def apply_sample(splits: Sequence[SpilledSplit], places: Any, sample: RowSample) -> None:
    """Reject all accepted rows but `sample.rows`; `places` as in a shard plan, changed in place.

    Raises: UserError (BAD_DATA) if fewer rows are accepted.
    """
    import numpy as np

    accepted = np.flatnonzero(places == 0)
    if len(accepted) < sample.rows:
        raise UserError(
            f"sample.rows={sample.rows}: only {len(accepted)} rows are accepted; give this number "
            "or fewer to all arms of the experiment",
            BAD_DATA,
        )
    keys = np.concatenate([sample_keys(split, sample.seed) for split in splits])[accepted]
    order = np.argpartition(keys, sample.rows - 1)
    places[accepted[order[sample.rows :]]] = PLACES[NOT_SAMPLED]


def sample_keys(split: SpilledSplit, seed: int) -> Any:
    """A random number for each row of a split, from its id and the seed; 0 for rows without id."""
    import numpy as np

    table = split.columns("id", "reason")
    keys: Any = np.where(is_good(table), row_ids(table)[:, 0], 0)
    # Arithmetic modulo 2^64, as splitmix64 does.
    with np.errstate(over="ignore"):
        keys = keys + np.uint64((seed + 1) * INCREMENT % 2**64)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(FIRST_FACTOR)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(SECOND_FACTOR)
        return keys ^ (keys >> np.uint64(31))

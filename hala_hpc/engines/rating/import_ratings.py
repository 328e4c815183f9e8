"""Take back what raters returned, into the folder of a rating."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.rating.rating_records import (
    RETURNED_FOLDER,
    RaterRatings,
    RatingSample,
    read_returned,
    returned_name,
)
from hala_hpc.engines.rating.read_returned import ReturnedFile, read_returned_file


@dataclass(frozen=True)
class ImportedRater:
    """What was imported of one rater."""

    rater: str
    path: Path
    """The file that it came in."""
    items: int
    replaced: int
    """Items of an earlier file of the same rater, in whose place this one is; 0 without."""


@dataclass(frozen=True)
class ImportedRatings:
    """What was imported of several files."""

    raters: Sequence[ImportedRater]
    empty: int
    """Items without a score, in all files."""


def import_ratings(folder: Path, sample: RatingSample, paths: Sequence[Path]) -> ImportedRatings:
    """Import all files, or none if one of them is faulty.

    Raises: UserError with what is wrong in every file, and for a rater whom two files have.
    """
    files: list[ReturnedFile] = []
    returned: dict[str, tuple[Path, RaterRatings]] = {}
    faults: list[str] = []
    code = BAD_DATA
    for path in paths:
        try:
            found = read_returned_file(path, sample)
            ratings = found.finish()
        except UserError as error:
            faults += error.mistakes
            code = error.code
            continue
        files.append(found)
        for one in ratings:
            if one.rater in returned:
                first = returned[one.rater][0]
                faults.append(f"data={path}: rater {one.rater!r} is in {first} as well: keep one")
            returned.setdefault(one.rater, (path, one))
    if faults:
        raise UserError(faults, code)
    earlier = {one.rater: len(one.ratings) for one in read_returned(folder)}
    for rater, (_, ratings_of_rater) in returned.items():
        ratings_of_rater.write(folder / RETURNED_FOLDER / returned_name(rater))
    return ImportedRatings(
        [
            ImportedRater(rater, path, len(one.ratings), earlier.get(rater, 0))
            for rater, (path, one) in returned.items()
        ],
        sum(one.empty for one in files),
    )

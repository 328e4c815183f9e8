"""The files of a rating: the sample with its key, and what each rater returned."""

import hashlib
from pathlib import Path

from hala_hpc.core.record import JsonRecord

#: Folder of all ratings in a work folder.
RATINGS_FOLDER = "ratings"
#: The sample with its key: which system made which output. Not for raters.
SAMPLE_FILE = "sample.json"
#: Folder of what raters get, and of what they returned.
FORMS_FOLDER, RETURNED_FOLDER = "for-raters", "returned"
#: Range of a score: 0 for no meaning preserved, 100 for perfect.
MIN_SCORE, MAX_SCORE = 0.0, 100.0
#: Characters of a comment that are stored.
MAX_COMMENT_CHARACTERS = 2000


class RatedItem(JsonRecord):
    """A source with the outputs of all systems, in the order in which raters see them."""

    id: str
    """Says nothing about the systems."""
    source: str
    outputs: tuple[str, ...]
    systems: tuple[str, ...] = ()
    """The system of each output; empty for an attention item."""
    best: int | None = None
    """Number of the output that must get the highest score; None but for an attention item."""

    @property
    def is_attention(self) -> bool:
        """Whether it only shows if a rater reads what is rated."""
        return self.best is not None


class RatingSample(JsonRecord):
    """`sample.json`: what is rated, and which system made which output."""

    id: str
    """Of its content: forms of other samples are refused."""
    name: str
    seed: int
    systems: tuple[str, ...]
    items: tuple[RatedItem, ...]
    """In the order of the forms."""
    language: str = "en"
    """Language of the forms."""
    left_out: int = 0
    """Texts that were too long to be chosen."""

    @property
    def by_id(self) -> dict[str, RatedItem]:
        """The items by their id."""
        return {item.id: item for item in self.items}


class ItemRating(JsonRecord):
    """What a rater thinks of one item."""

    item: str
    scores: tuple[float | None, ...]
    """Of each output, 0 to 100; None for one without a score."""
    comment: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether no output has a score."""
        return all(score is None for score in self.scores)


class RaterRatings(JsonRecord):
    """`returned/….json`, and the file that the page of the form downloads."""

    sample: str
    """Id of the sample."""
    rater: str
    """Name or pseudonym."""
    ratings: tuple[ItemRating, ...] = ()


def ratings_folder(work: Path, name: str) -> Path:
    """Folder of a rating in a work folder."""
    return work / RATINGS_FOLDER / name


def returned_name(rater: str) -> str:
    """File name of what a rater returned; names in any script have one."""
    return f"{hashlib.sha256(rater.encode(errors='replace')).hexdigest()[:16]}.json"


def read_sample(folder: Path) -> RatingSample | None:
    """The sample of a rating; None if there is none. Raises: Damaged."""
    return RatingSample.read(folder / SAMPLE_FILE)


def read_returned(folder: Path) -> list[RaterRatings]:
    """What all raters returned, by their name. Raises: Damaged."""
    paths = sorted((folder / RETURNED_FOLDER).glob("*.json"))
    found = [one for path in paths if (one := RaterRatings.read(path)) is not None]
    return sorted(found, key=lambda one: one.rater)


def list_rating_folders(work: Path) -> list[Path]:
    """The folders of all ratings of a work folder that have a sample."""
    return sorted(path.parent for path in (work / RATINGS_FOLDER).glob(f"*/{SAMPLE_FILE}"))

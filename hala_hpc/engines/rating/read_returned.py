"""Read what raters returned: the table, the file of the page, and annotations of Pearmut.

What does not belong is refused by its name: other samples, unknown items, values that are no score.
A faulty file is not imported at all, so that its rater can send it again.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.engines.rating.rating_records import (
    MAX_COMMENT_CHARACTERS,
    MAX_SCORE,
    MIN_SCORE,
    ItemRating,
    RaterRatings,
    RatingSample,
)
from hala_hpc.engines.rating.write_forms import (
    campaign_name,
    form_columns,
    output_column,
    score_column,
)

#: Faults of a file that an error lists.
MAX_FAULTS = 8
#: What Pearmut writes in the place of ratings when a task is begun again.
PEARMUT_RESET = "__RESET__"


@dataclass
class ReturnedFile:
    """A file on its way in: ratings by rater and item, and what is wrong with it."""

    path: Path
    sample: RatingSample
    ratings: dict[str, dict[str, ItemRating]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    empty: int = 0
    """Items without a score."""

    def add(self, rater: str, rating: ItemRating, place: str) -> None:
        """Add the rating of one item, or the faults that it has."""
        item = self.sample.by_id.get(rating.item)
        before = len(self.faults)
        if not rater.strip():
            self.faults.append(f"{place}: rater is missing")
        if item is None:
            self.faults.append(f"{place}: item {rating.item!r} is none of sample {self.sample.id}")
        elif len(rating.scores) != len(item.outputs):
            self.faults.append(
                f"{place}: {len(rating.scores)} scores for {len(item.outputs)} outputs"
            )
        self.faults += [
            f"{place}: {score_column(n)}={score}: write a number from 0 to 100"
            for n, score in enumerate(rating.scores)
            if score is not None and not MIN_SCORE <= score <= MAX_SCORE
        ]
        if len(self.faults) > before:
            return
        if rating.is_empty:
            self.empty += 1
            return
        comment = rating.comment[:MAX_COMMENT_CHARACTERS]
        self.ratings.setdefault(rater.strip(), {})[rating.item] = rating.model_copy(
            update={"comment": comment}
        )

    def finish(self) -> list[RaterRatings]:
        """What each rater returned. Raises: UserError (BAD_DATA) with all that is wrong."""
        if self.faults:
            more = len(self.faults) - MAX_FAULTS
            shown = [f"{self.path}: {fault}" for fault in self.faults[:MAX_FAULTS]]
            raise UserError([*shown, *([f"and {more} more faults"] if more > 0 else [])], BAD_DATA)
        return [
            RaterRatings(sample=self.sample.id, rater=rater, ratings=tuple(items.values()))
            for rater, items in self.ratings.items()
        ]


def read_returned_file(path: Path, sample: RatingSample) -> ReturnedFile:
    """Read a file by its suffix; its faults are in it.

    Raises: UserError (NO_INPUT) if it cannot be read, (BAD_DATA) if it has none of the three forms.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"data={path}: {error.strerror}", NO_INPUT) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"data={path}: not UTF-8; save it as CSV UTF-8", BAD_DATA) from None
    found = ReturnedFile(path, sample)
    if path.suffix == ".csv":
        read_table_form(text, found)
    elif path.suffix == ".jsonl":
        read_annotations(parse_lines(text, found), found)
    elif path.suffix == ".json":
        read_json_form(text, found)
    else:
        raise UserError(f"data={path}: write a .csv, .json or .jsonl file", BAD_DATA)
    return found


def read_table_form(text: str, found: ReturnedFile) -> None:
    """Add the rows of a table; the name of the file names its rater where the column is empty."""
    head = text.partition("\n")[0]
    # Where the comma is the decimal sign, spreadsheets separate cells with semicolons.
    separator = max(",;\t", key=head.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    columns = form_columns(len(found.sample.systems))
    needed = [name for name in columns if name not in ("rater", "source", "comment")]
    needed = [name for name in needed if not name.startswith("output_")]
    if missing := [name for name in needed if name not in (rows.fieldnames or ())]:
        found.faults.append(f"column {', '.join(missing)} is missing: return the table of the form")
        return
    seen: set[tuple[str, str]] = set()
    for row in rows:
        place = f"line {rows.line_num}"
        sample = read_cell_id(row["sample"])
        if sample != found.sample.id:
            found.faults.append(f"{place}: sample {sample!r}; this is sample {found.sample.id}")
            continue
        rater = (row.get("rater") or "").strip() or found.path.stem
        item = read_cell_id(row["item"])
        if (rater, item) in seen:
            found.faults.append(f"{place}: item {item} is twice there for {rater}")
            continue
        seen.add((rater, item))
        scores = [
            parse_score(row[name], f"{place}, {name}", found)
            for name in columns
            if name.startswith("score_")
        ]
        comment = (row.get("comment") or "").strip()
        found.add(rater, ItemRating(item=item, scores=tuple(scores), comment=comment), place)


def read_cell_id(cell: str | None) -> str:
    """An id without the sign that protects it in spreadsheets."""
    return (cell or "").strip().removeprefix("#")


def parse_score(cell: str | None, place: str, found: ReturnedFile) -> float | None:
    """A score in digits of any script; None for an empty cell, and for a fault, which is added."""
    text = (cell or "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        found.faults.append(f"{place}={text!r}: write a number from 0 to 100, or nothing")
        return None


def read_json_form(text: str, found: ReturnedFile) -> None:
    """Add the file of the page, or the download of Pearmut: annotations by campaign."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        found.faults.append(f"not JSON: {error}")
        return
    campaign = campaign_name(found.sample)
    if isinstance(values, dict) and isinstance(values.get(campaign), list):
        read_annotations(((f"entry {n}", one) for n, one in enumerate(values[campaign], 1)), found)
        return
    if not isinstance(values, dict) or "ratings" not in values:
        found.faults.append(f"neither the file of the form nor annotations of {campaign}")
        return
    try:
        returned = RaterRatings.from_json(text, found.path)
    except Damaged as error:
        found.faults.append(str(error))
        return
    if returned.sample != found.sample.id:
        found.faults.append(f"sample {returned.sample!r}; this is sample {found.sample.id}")
        return
    for number, rating in enumerate(returned.ratings, 1):
        found.add(returned.rater, rating, f"rating {number}")


def parse_lines(text: str, found: ReturnedFile) -> Iterator[tuple[str, Any]]:
    """Place and value of each JSON line; faults are added."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            found.faults.append(f"line {number}: not JSON: {error}")


def read_annotations(entries: Iterable[tuple[str, Any]], found: ReturnedFile) -> None:
    """Add what Pearmut logged, in its order: a later entry of an item replaces an earlier one."""
    for place, entry in entries:
        if not isinstance(entry, dict):
            found.faults.append(f"{place}: no entry of Pearmut's log")
            continue
        rater, annotations = str(entry.get("user_id") or ""), entry.get("annotation")
        if annotations == PEARMUT_RESET:
            found.ratings.pop(rater, None)
            continue
        for item, outputs in zip(entry.get("item") or (), annotations or (), strict=False):
            if not isinstance(item, dict) or not isinstance(outputs, dict):
                found.faults.append(f"{place}: no entry of Pearmut's log")
                continue
            found.add(rater, read_annotation(item, outputs), place)


def read_annotation(item: Mapping[str, Any], outputs: Mapping[str, Any]) -> ItemRating:
    """The scores of one item by the names of its outputs."""
    scores = []
    for number in range(len(item.get("tgt") or ())):
        one = outputs.get(output_column(number))
        score = one.get("score") if isinstance(one, dict) else None
        scores.append(float(score) if isinstance(score, int | float) else None)
    return ItemRating(item=str(item.get("item_id")), scores=tuple(scores))

"""A run whose translations people rate, and ratings with a known agreement and win rate.

The table is that of three raters and 15 units in the article on Krippendorff's alpha of Wikipedia
(https://en.wikipedia.org/wiki/Krippendorff%27s_alpha), which gives 0.811 for squared differences.
Unit 2k is the output of `base` for item k, unit 2k+1 that of `merged`. By hand: the preferences for
`base` over `merged` are 1 in the items 1, 3 and 4, 1/4 in item 2 (a tie and a loss), 0 in item 5,
and unknown in the others, where no rater scored both: 3.25 of 5 are 0.65.
"""

import csv
import io
import json
from pathlib import Path

from made_run import MadeRun, write_translation_scores

from hala_hpc.engines.evaluation.score_files import TranslatedSentence
from hala_hpc.engines.rating.rating_records import (
    ItemRating,
    RatedItem,
    RaterRatings,
    RatingSample,
)

KNOWN_ALPHA, KNOWN_WIN_RATE = 0.811, 0.65
TABLE = {
    "A": "* * * * * 3 4 1 2 1 1 3 3 * 3",
    "B": "1 * 2 1 3 3 4 3 * * * * * * *",
    "C": "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
}


def make_rated_run(
    work: Path, texts: int = 8, labels: tuple[str, ...] = ("base", "merged")
) -> None:
    """A finished evaluation named `scores`, with translations into Arabic."""
    run = MadeRun(work)
    output = run.add("scores", "evaluate").output
    run.finish()
    # The summary of `MadeRun` has one unit, and each model is one.
    path = run.folder(0) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"units": len(labels)}))
    sentences = {
        label: [
            TranslatedSentence(f"{n}", f"Source {n}", f"جملة {n}", f"ترجمة {n} {'و' * (place + 1)}")
            for n in range(texts)
        ]
        for place, label in enumerate(labels)
    }
    write_translation_scores(output, list(labels), sentences)


def read_made_sample(work: Path, name: str = "scores") -> RatingSample:
    """The sample that was exported, with its key."""
    sample = RatingSample.read(work / "ratings" / name / "sample.json")
    assert sample is not None
    return sample


def known_scores(sample: RatingSample, rater: str) -> dict[str, dict[str, float | None]]:
    """The scores of the table by item and system; None for an empty place."""
    cells = [None if cell == "*" else float(cell) for cell in TABLE[rater].split()]
    items = [item for item in sample.items if not item.is_attention]
    pairs = zip(items, [*zip(cells[::2], [*cells[1::2], None], strict=True)], strict=True)
    return {item.id: {"base": pair[0], "merged": pair[1]} for item, pair in pairs}


def place_scores(item: RatedItem, scores: dict[str, float | None]) -> list[float | None]:
    """Scores in the order in which raters see the outputs; the best one of an attention item."""
    if item.best is not None:
        return [90.0 if n == item.best else 0.0 for n in range(len(item.outputs))]
    return [scores[name] for name in item.systems]


def rate_all(sample: RatingSample, rater: str) -> dict[str, list[float | None]]:
    """What a rater of the table writes into each item."""
    known = known_scores(sample, rater)
    return {item.id: place_scores(item, known.get(item.id, {})) for item in sample.items}


def write_page_file(path: Path, sample: RatingSample, rater: str) -> Path:
    """The file that the page of the form downloads."""
    ratings = tuple(
        ItemRating(item=item, scores=tuple(scores))
        for item, scores in rate_all(sample, rater).items()
    )
    RaterRatings(sample=sample.id, rater=rater, ratings=ratings).write(path)
    return path


def fill_table(form: Path, path: Path, sample: RatingSample, rater: str) -> Path:
    """The table as a spreadsheet of an Arabic locale saves it: semicolons, Arabic digits."""
    rows = list(csv.DictReader(io.StringIO(form.read_text(encoding="utf-8-sig"), newline="")))
    found = rate_all(sample, rater)
    for row in rows:
        row["rater"] = rater
        for number, score in enumerate(found[row["item"].removeprefix("#")], 1):
            text = "" if score is None else f"{score:.0f}"
            row[f"score_{number}"] = text.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_annotations(campaign: Path, path: Path, sample: RatingSample, rater: str) -> Path:
    """The log of a Pearmut server: a line for each document, after one that was begun again."""
    found = rate_all(sample, rater)
    documents = json.loads(campaign.read_text())["data"][0]
    lines: list[dict[str, object]] = [{"user_id": rater, "annotation": "__RESET__"}]
    for number, document in enumerate(documents):
        annotation = [
            {name: {"score": found[item["item_id"]][n]} for n, name in enumerate(item["tgt"])}
            for item in document
        ]
        lines.append(
            {"item": document, "annotation": annotation, "user_id": rater, "item_i": number}
        )
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path

"""Translations side by side: some at random, the worst, and rejected rows with their reason."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.reader import (
    REJECTED,
    list_parts,
    message_pairs,
    read_part,
    rejected_name,
)
from hala_hpc.engines.evaluation.score_files import (
    ModelScores,
    TranslatedSentence,
    score_name,
    translations_name,
)
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Block, Examples, Lines
from hala_hpc.engines.reporting.safe_text import file_stem, shorten_text

RANDOM_ROWS, WORST_ROWS, ROWS_PER_REASON, MAX_REASONS = 8, 8, 3, 12
#: Sentences of a file that are read: the worst are sought among these.
MAX_READ_ROWS = 2000
#: Rejected rows that are read until each reason has its examples.
MAX_REJECTED_ROWS = 100_000
#: Characters of a text in the file of examples; the page shows fewer.
MAX_FILE_CHARACTERS = 20_000
SEED = 20250914


def make_translation_examples(node: NodeFacts) -> list[Examples]:
    """Held-out sentences with all translations of an evaluation; empty for any other node."""
    found = read_paired_translations(node)
    if not found:
        return []
    labels = list(found)
    first = found[labels[0]]
    rows = [
        [one.source, one.reference, *(found[label][number].hypothesis for label in labels)]
        for number, one in enumerate(first)
    ]
    columns = ["source", "reference", *labels]
    picked = random.Random(SEED).sample(range(len(rows)), min(RANDOM_ROWS, len(rows)))
    stem = file_stem(node.name)
    examples = [
        Examples(
            f"examples-random-{stem}",
            f"Translations of held-out sentences in {node.name}, at random",
            columns,
            [rows[number] for number in sorted(picked)],
            f"{len(picked)} of {len(rows):,} sentences, picked by a fixed seed.",
        )
    ]
    scores = sentence_scores([row[-1] for row in rows], [row[1] for row in rows])
    worst = sorted(range(len(rows)), key=scores.__getitem__)[: min(WORST_ROWS, len(rows))]
    examples.append(
        Examples(
            f"examples-worst-{stem}",
            f"The worst translations of {labels[-1]} in {node.name}",
            ["chrF++", *columns],
            [[f"{scores[number]:.1f}", *rows[number]] for number in worst],
            f"By chrF++ of each sentence among {len(rows):,}: 100 equals the reference.",
            narrow_columns=1,
        )
    )
    return examples


def read_paired_translations(node: NodeFacts) -> dict[str, list[TranslatedSentence]]:
    """The sentences of each model by its label; only models that have the same ones."""
    if node.stage != "evaluate" or node.output is None:
        return {}
    found: dict[str, list[TranslatedSentence]] = {}
    units = node.summary.units if node.summary else 0
    for unit in range(units):
        path = node.output / translations_name(unit)
        scores = ModelScores.read_if_valid(node.output / score_name(unit))
        if scores is not None and path.is_file():
            found[scores.label] = list(islice(read_sentences(path), MAX_READ_ROWS))
    ids = [[one.id for one in sentences] for sentences in found.values()]
    if not ids or not ids[0]:
        return {}
    return {
        label: rows for (label, rows), own in zip(found.items(), ids, strict=True) if own == ids[0]
    }


def read_sentences(path: Path) -> Iterator[TranslatedSentence]:
    """The lines of a file of translations; up to November 2026 they name a translation `said`."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            row = json.loads(line)
            text = row.get("hypothesis", row.get("said", ""))
            yield TranslatedSentence(
                str(row.get("id", "")), str(row["source"]), str(row["reference"]), str(text)
            )


def sentence_scores(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF++ of each sentence, from 0 to 100."""
    from sacrebleu.metrics import CHRF

    metric = CHRF(word_order=2)
    # A text of a megabyte would take minutes, and its first characters tell the same.
    limit = 1000
    return [
        float(metric.sentence_score(text[:limit], [reference[:limit]]).score)
        for text, reference in zip(hypotheses, references, strict=True)
    ]


def make_row_examples(node: NodeFacts) -> list[Examples]:
    """Translated rows at random, and rejected rows of every reason."""
    if node.output is None or node.stage not in ("translate", "filter", "prepare"):
        return []
    return [*translated_rows(node), *rejected_examples(node)]


def make_examples(node: NodeFacts) -> list[Block]:
    """All examples of a node; a warning in their place if its rows cannot be read."""
    try:
        return [*make_translation_examples(node), *make_row_examples(node)]
    except (UserError, OSError, ValueError, KeyError):
        # Damaged rows are no reason to have no page: `verify` reports and repairs them.
        text = "its rows cannot be read; run `python -m hala_hpc.verify`"
        return [Lines([f"{node.name}: {text}"], is_warning=True)]


def translated_rows(node: NodeFacts) -> list[Examples]:
    """Texts of a translated corpus beside their sources, from its first shard."""
    assert node.output is not None
    if node.stage != "translate" or not list(node.output.glob("part-*.parquet")):
        return []
    rows = islice(read_part(list_parts(node.output)[0]), MAX_READ_ROWS)
    pairs = [pair for row in rows for pair in pairs_of(row)]
    picked = random.Random(SEED).sample(pairs, min(RANDOM_ROWS, len(pairs)))
    if not picked:
        return []
    return [
        Examples(
            f"examples-translated-{file_stem(node.name)}",
            f"Accepted translations of {node.name}, at random",
            ["source", "translation"],
            picked,
            f"{len(picked)} texts of its first shard, picked by a fixed seed.",
        )
    ]


def pairs_of(row: Mapping[str, Any]) -> list[list[str]]:
    """Source and translation of a row, or of each of its messages."""
    if row.get("messages_source"):
        return [[source, target] for _, source, target in message_pairs(dict(row))]
    return [[str(row["source"]), str(row["target"])]] if "source" in row else []


def rejected_examples(node: NodeFacts) -> list[Examples]:
    """Rejected rows: a few of each reason, with the answer of the model if it was asked."""
    assert node.output is not None
    counts = node.summary.rejected if node.summary else {}
    frequent = sorted(counts, key=lambda reason: -counts[reason])[:MAX_REASONS]
    left = {reason: min(counts[reason], ROWS_PER_REASON) for reason in frequent}
    rows: list[list[str]] = []
    for reason, text, answer in islice(read_rejected(node.output), MAX_REJECTED_ROWS):
        if left.get(reason):
            left[reason] -= 1
            rows.append([reason, text, answer])
        if not any(left.values()):
            break
    if not rows:
        return []
    rows.sort(key=lambda row: row[0])
    has_answers = any(row[2] for row in rows)
    columns = ["reason", "row", "answer of the model"] if has_answers else ["reason", "row"]
    return [
        Examples(
            f"examples-rejected-{file_stem(node.name)}",
            f"Rows that {node.name} rejected",
            columns,
            [row[: len(columns)] for row in rows],
            f"Up to {ROWS_PER_REASON} rows of each reason, the first of the result.",
            is_folded=True,
            narrow_columns=1,
        )
    ]


def read_rejected(output: Path) -> Iterator[tuple[str, str, str]]:
    """Reason, text and answer of the rejected rows of a node."""
    for path in sorted(output.glob(rejected_name(0).replace("00000", "*"))):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                row = json.loads(line)
                yield str(row.get("reason")), text_of_row(row.get("row")), ""
    if (output / REJECTED).is_dir() and list((output / REJECTED).glob("part-*.parquet")):
        for part in list_parts(output / REJECTED):
            for row in read_part(part):
                yield str(row.get("reason")), text_of_row(row), str(row.get("said") or "")


def text_of_row(row: Any) -> str:
    """A row for readers: the messages of a conversation, both sides of a pair, else as it is."""
    if not isinstance(row, dict):
        return shorten_text(str(row), MAX_FILE_CHARACTERS)
    if isinstance(row.get("messages"), list):
        text = "\n".join(str(message.get("content")) for message in row["messages"])
    elif "source" in row and "target" in row:
        text = f"{row['source']}\n{row['target']}"
    else:
        text = json.dumps(row, ensure_ascii=False)
    return shorten_text(text, MAX_FILE_CHARACTERS)

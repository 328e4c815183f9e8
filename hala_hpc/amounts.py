"""How many rows and tokens the nodes of a plan will pass on, before their inputs exist.

What is finished is counted, what is on the disk is weighed, the rest is taken as published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hala_hpc.plan import Step

#: A token of English is about so many bytes; text in Parquet is packed to about a third.
BYTES_OF_TOKEN = 4
PARQUET_PACKING = 3
#: Tokens of a row of which nothing else is known (assumed).
TOKENS_OF_ROW = 250

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Amount:
    """The texts of a corpus or of token files."""

    rows: float
    source: float
    """Tokens of the texts as they came."""
    target: float = 0.0
    """Tokens of their translations."""

    @property
    def tokens(self) -> float:
        """Tokens of both sides."""
        return self.source + self.target

    def times(self, share: float) -> "Amount":
        """So large a share of it."""
        return Amount(self.rows * share, self.source * share, self.target * share)


def amounts(steps: Mapping[str, Step], table: Table) -> dict[str, Amount | None]:
    """What each node leaves, inputs first; None where nobody knows or there is no text in it."""
    made = {
        "prepare": prepared,
        "filter": filtered,
        "translate": translated,
        "tokenize": tokenized,
    }
    found: dict[str, Amount | None] = {}
    for name, step in steps.items():
        make = made.get(step.node.stage.name)
        found[name] = counted(step, make(step, found, table)) if make else None
    return found


def counted(step: Step, expected: Amount | None) -> Amount | None:
    """The amount as a finished node counted it, else as expected."""
    summary = step.artifact.summary() if step.state == "done" else None
    rows = (summary or {}).get("rows_out")
    if not summary or not rows or (expected and not expected.rows):
        return expected
    known = expected.times(rows / expected.rows) if expected else of_rows(rows)
    if step.node.stage.name == "translate" and summary.get("tokens_out"):
        return replace(known, target=float(summary["tokens_out"]))
    return known


def of_rows(rows: float) -> Amount:
    """Rows of which nothing else is known."""
    return Amount(rows, rows * TOKENS_OF_ROW)


def prepared(step: Step, _: Mapping[str, Amount | None], table: Table) -> Amount | None:
    """The rows of files and data sets."""
    settings: Any = step.node.settings
    parts = [part_of(word, settings.split or "train", table["data"]) for word in settings.data]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    whole = Amount(sum(part.rows for part in known), sum(part.source for part in known))
    if settings.limit and settings.limit < whole.rows:
        whole = whole.times(settings.limit / whole.rows)
    if settings.rows == "opus":
        return Amount(whole.rows, whole.source / 2, whole.source / 2)
    return whole


def part_of(word: str, split: str, data: Table) -> Amount | None:
    """One word of `data`: a path is weighed, a data set of the hub looked up."""
    if word.startswith("@"):
        return None
    path = Path(word).expanduser()
    if path.exists():
        return weighed(path)
    known = data.get(f"{word}:{split}") or data.get(word)
    return Amount(known["rows"], known["rows"] * known["tokens"]) if known else None


def weighed(path: Path) -> Amount:
    """What a file or folder holds, told from its bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    tokens = 0.0
    for file in files:
        packing = PARQUET_PACKING if file.suffix in (".parquet", ".gz") else 1
        tokens += file.stat().st_size * packing / BYTES_OF_TOKEN
    return Amount(tokens / TOKENS_OF_ROW, tokens)


def corpus_of(reference: str, found: Mapping[str, Amount | None]) -> Amount | None:
    """The corpus behind a reference; what a node rejected is not known beforehand."""
    if not reference.startswith("@"):
        path = Path(reference).expanduser()
        return weighed(path) if path.exists() else None
    name, _, rest = reference[1:].partition("/")
    return None if rest else found.get(name)


def filtered(step: Step, found: Mapping[str, Amount | None], table: Table) -> Amount | None:
    """The pairs that a judge keeps."""
    settings: Any = step.node.settings
    corpus = corpus_of(settings.corpus, found)
    share = settings.target_share or table["read"]["kept"]
    return corpus and corpus.times(share)


def translated(step: Step, found: Mapping[str, Amount | None], table: Table) -> Amount | None:
    """The texts of a corpus, and their translations beside them."""
    settings: Any = step.node.settings
    corpus = corpus_of(settings.corpus, found)
    if corpus is None:
        return None
    source = corpus.target if corpus.target and settings.field == "target" else corpus.source
    return Amount(corpus.rows, source, source * table["write"]["tokens_per_source_token"])


def tokenized(step: Step, found: Mapping[str, Amount | None], _: Table) -> Amount | None:
    """What a training learns from in an epoch."""
    settings: Any = step.node.settings
    corpora = [corpus_of(reference, found) for reference in settings.train]
    known = [corpus for corpus in corpora if corpus is not None]
    if len(known) < len(corpora):
        return None
    weights = settings.weights or [1.0] * len(known)
    pairs = list(zip(known, weights, strict=True))
    both = settings.objective == "translate"
    tokens = sum(
        weight * (corpus.tokens if both else corpus.target or corpus.source)
        for corpus, weight in pairs
    )
    return Amount(sum(weight * corpus.rows for corpus, weight in pairs), tokens)

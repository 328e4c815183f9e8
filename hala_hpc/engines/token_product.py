"""The folder of a tokens product: what it holds, checked unit by unit and added up."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, INTERNAL, UserError
from hala_hpc.core.files import link_tree, read_json, write_json
from hala_hpc.core.stage import Facts
from hala_hpc.data.carry_over import copy_tokenizer
from hala_hpc.engines.token_names import TOKENIZER_FOLDER, TOKENS_FILE

#: What is counted of each file.
COUNTED = ("rows", "sequences", "tokens", "tokens_learnt")


@dataclass(frozen=True)
class UnitFiles:
    """The files of a unit."""

    folder: Path
    unit: int

    @property
    def learnt(self) -> Path:
        """Sequences to learn from; absent where there are none."""
        return self.folder / f"part-{self.unit:05d}.arrow"

    @property
    def held_out(self) -> Path:
        """Held-out rows, never packed; absent where there are none."""
        return self.folder / f"held-out-{self.unit:05d}.arrow"

    @property
    def notes(self) -> Path:
        """What the unit noted while it was made."""
        return self.folder / f"notes-{self.unit:05d}.json"


@dataclass
class Notes:
    """What a unit counts while it is made."""

    rows_in: int = 0
    rows_repeated: int = 0
    """Repetitions of rows whose corpus has a weight above 1."""
    rejected: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Learnt examples by their tokens."""

    def write(self, path: Path) -> None:
        """Write them as JSON, whose keys are strings."""
        value = {
            "rows_in": self.rows_in,
            "rows_repeated": self.rows_repeated,
            "rejected": {reason: number for reason, number in self.rejected.items() if number},
            "lengths": {str(length): self.lengths[length] for length in sorted(self.lengths)},
        }
        write_json(path, value)


def check_unit(files: UnitFiles, max_length: int) -> Facts:
    """Read the files of a unit back and count them.

    Raises UserError (70) when an example is lost, made up or too long.
    """
    noted: dict[str, Any] = read_json(files.notes)
    learnt, examples = counts_of(files.learnt)
    measured, _ = counts_of(files.held_out)
    if {str(length): number for length, number in examples.items()} != noted["lengths"]:
        raise UserError(f"{files.learnt} does not hold the examples that were made", INTERNAL)
    if max(examples, default=0) > max_length:
        raise UserError(f"{files.learnt} has an example of {max(examples)} tokens", INTERNAL)
    return Facts(
        rows_in=noted["rows_in"],
        rows_out=learnt["rows"] + measured["rows"],
        rows_rejected=sum(noted["rejected"].values()),
        rejected=noted["rejected"],
        tokens_out=learnt["tokens"] + measured["tokens"],
        details={
            **{name: learnt[name] for name in COUNTED},
            **{f"held_out_{name}": measured[name] for name in COUNTED},
            "rows_repeated": noted["rows_repeated"],
            "largest_token": max(learnt["largest_token"], measured["largest_token"]),
        },
    )


def counts_of(path: Path) -> tuple[dict[str, int], Counter[int]]:
    """What a token file holds; zeros where a unit has none."""
    from hala_hpc.engines.token_file import read_back

    if path.exists():
        return read_back(path)
    return {**dict.fromkeys(COUNTED, 0), "largest_token": -1}, Counter()


def collect_units(
    marks: list[dict[str, Any]], folders: list[Path], output: Path, settings: dict[str, Any]
) -> dict[str, Any]:
    """Gather the files of all units and write tokens.json; returns the counts.

    `settings` are what a trainer must know: max_length and packing. Raises UserError (65) when no
    row is left.
    """
    details = [mark["details"] for mark in marks]
    added = [name for name in details[0] if name != "largest_token"]
    facts: dict[str, Any] = {name: sum(one[name] for one in details) for name in added}
    if not facts["rows"]:
        raise UserError(nothing_left(marks, facts["held_out_rows"]), BAD_DATA)
    lengths: Counter[int] = Counter()
    for unit, folder in enumerate(folders):
        link_tree(folder, output)
        noted = read_json(UnitFiles(folder, unit).notes)["lengths"]
        lengths.update({int(length): number for length, number in noted.items()})
    facts |= {"length_p50": percentile(lengths, 0.5), "length_p95": percentile(lengths, 0.95)}
    facts |= {"length_max": max(lengths), **settings}
    facts["largest_token"] = max(one["largest_token"] for one in details)
    if settings["packing"]:
        slots = facts["sequences"] * settings["max_length"]
        facts["fill"] = round(facts["tokens"] / slots, 5)
    facts |= read_json(folders[0] / TOKENIZER_FOLDER / "facts.json")
    places = [UnitFiles(Path(), unit) for unit in range(len(marks))]
    named = zip(places, details, strict=True)
    parts = [(place, one["sequences"], one["held_out_sequences"]) for place, one in named]
    write_json(
        output / TOKENS_FILE,
        {
            **facts,
            "parts": [place.learnt.name for place, learnt, _ in parts if learnt],
            "held_out_parts": [place.held_out.name for place, _, measured in parts if measured],
        },
    )
    return facts


def nothing_left(marks: list[dict[str, Any]], held_out: int) -> str:
    """Why there is nothing to learn from."""
    reasons = sum((Counter(mark["rejected"]) for mark in marks), Counter[str]())
    rows_in = sum(mark["rows_in"] for mark in marks)
    return (
        f"no row is left to train on: {rows_in} read, rejected {dict(reasons)}, held out {held_out}"
    )


def percentile(examples: Counter[int], share: float) -> int:
    """The length that so large a share of the examples does not exceed."""
    wanted, seen = share * examples.total(), 0
    for length in sorted(examples):
        seen += examples[length]
        if seen >= wanted:
            return length
    return 0


def bring_tokenizer(model: Path, folder: Path, tokenizer: Any, supplied: bool) -> None:
    """Copy the tokenizer of a model, with the chat template if one was supplied to it."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(model, folder)
    # That belongs to the model; the config tells transformers the kind of tokenizer.
    (folder / "generation_config.json").unlink(missing_ok=True)
    if (model / "config.json").is_file():
        shutil.copyfile(model / "config.json", folder / "config.json")
    if supplied:
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    facts = {"vocabulary": vocabulary_digest(tokenizer), "template_supplied": supplied}
    write_json(folder / "facts.json", facts)


def vocabulary_digest(tokenizer: Any) -> str:
    """A hash of all tokens and their numbers, 32 hexadecimal digits."""
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    digest = blake2b(digest_size=16)
    for word, number in words:
        digest.update(f"{number} {word}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()

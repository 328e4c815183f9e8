"""The outputs of two or more systems for the same sources: from evaluations, corpora or a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from hala_hpc.core.damage import Damaged
from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.run import RunNode
from hala_hpc.engines.reporting.node_facts import NodeFacts, read_node_facts
from hala_hpc.engines.reporting.translation_examples import read_paired_translations

#: Systems whose outputs a person can compare at a time.
MIN_SYSTEMS, MAX_SYSTEMS = 2, 6
#: Rows of a corpus that are read for a sample.
MAX_CORPUS_ROWS = 20_000


@dataclass(frozen=True)
class RatedText:
    """A source with the output of every system."""

    id: str
    source: str
    outputs: dict[str, str]
    """By system."""
    reference: str = ""
    """Known good output; empty if unknown."""


class AnswerLine(JsonRecord):
    """A line of a file of answers."""

    id: str = ""
    source: str
    reference: str = ""
    outputs: dict[str, str] = Field(min_length=1)


def read_rated_nodes(nodes: Sequence[RunNode]) -> list[RatedText]:
    """Texts of one evaluation of translations, or of several `translate` nodes of one corpus.

    Raises: UserError if a node is not complete or has no translations, or if nodes share none.
    """
    facts = [require_facts(node) for node in nodes]
    if len(facts) == 1 and facts[0].stage == "evaluate":
        return texts_of_evaluation(facts[0])
    others = [one.name for one in facts if one.stage != "translate"]
    if others or len(facts) < MIN_SYSTEMS:
        raise UserError(
            f"node={','.join(node.name for node in nodes)}: write one evaluate node that scores "
            "translations, or two or more translate nodes that read the same rows"
        )
    return join_corpora({one.name: one for one in facts})


def require_facts(node: RunNode) -> NodeFacts:
    """The records of a complete node. Raises: UserError (NO_INPUT) if it is not complete."""
    summary = node.artifact.summary()
    if summary is None:
        raise UserError(
            f"node={node.name}: not complete yet; run the launch command again", NO_INPUT
        )
    return read_node_facts(node.artifact.output, summary)


def texts_of_evaluation(node: NodeFacts) -> list[RatedText]:
    """The held-out sentences of an evaluation with the translation of each model."""
    found = read_paired_translations(node)
    if len(found) < MIN_SYSTEMS:
        raise UserError(
            f"node={node.name}: it has translations of {len(found)} models, and a comparison needs "
            f"{MIN_SYSTEMS}; name an evaluate node with `data` and several `models`"
        )
    first = next(iter(found.values()))
    return [
        RatedText(
            f"{number}/{one.id}",
            one.source,
            {label: sentences[number].hypothesis for label, sentences in found.items()},
            one.reference,
        )
        for number, one in enumerate(first)
    ]


def join_corpora(nodes: dict[str, NodeFacts]) -> list[RatedText]:
    """The rows that all translated corpora have, by their id and source."""
    from itertools import islice

    from hala_hpc.data.corpus.reader import read_translation_pairs

    joined: dict[tuple[str, str], dict[str, str]] = {}
    for name, node in nodes.items():
        assert node.output is not None
        for key, source, target in islice(read_translation_pairs(node.output), MAX_CORPUS_ROWS):
            joined.setdefault((key, source), {})[name] = target
    texts = [
        RatedText(key, source, outputs)
        for (key, source), outputs in joined.items()
        if len(outputs) == len(nodes)
    ]
    if not texts:
        raise UserError(f"node={','.join(nodes)}: these nodes have no row in common", BAD_DATA)
    return texts


def read_answer_file(path: Path) -> list[RatedText]:
    """Texts of a file: a JSON object in each line, with `source`, and `outputs` by system.

    Raises: UserError naming every faulty line, at most five of them.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data={path}: {error}; write a file of JSON lines", NO_INPUT) from None
    texts, faults = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = AnswerLine.from_json(line, f"data={path}, line {number}")
        except Damaged as error:
            faults.append(str(error))
            continue
        texts.append(RatedText(one.id or str(number), one.source, one.outputs, one.reference))
    systems = {json.dumps(sorted(one.outputs)) for one in texts}
    if len(systems) > 1:
        faults.append(f"data={path}: its lines have outputs of different systems: write all in all")
    if faults or not texts:
        raise UserError(faults[:5] or f"data={path}: it has no line", BAD_DATA)
    return texts


def select_systems(texts: Sequence[RatedText], systems: Sequence[str]) -> list[RatedText]:
    """The same with the outputs of some systems only; all without a selection.

    Raises: UserError for an unknown system, and for too few or too many.
    """
    known = list(texts[0].outputs)
    wanted = list(systems) or known
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(f"systems={','.join(unknown)}: unknown; there are {', '.join(known)}")
    if not MIN_SYSTEMS <= len(set(wanted)) <= MAX_SYSTEMS:
        raise UserError(
            f"systems={','.join(wanted)}: name {MIN_SYSTEMS} to {MAX_SYSTEMS} of {', '.join(known)}"
        )
    return [
        RatedText(one.id, one.source, {name: one.outputs[name] for name in wanted}, one.reference)
        for one in texts
    ]

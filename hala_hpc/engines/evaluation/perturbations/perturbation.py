"""The perturbation of an entry of `tasks`: `arabic+keyboard-0.1` is the group arabic with slips.

Its tasks have the same names and that ending, and their items the same numbers as the plain ones:
that is how both are paired.
"""

import random
import re
from hashlib import blake2b
from typing import NamedTuple

from hala_hpc.core.errors import suggest_name

#: The perturbations of `spelling.CHANGES`, which jobs alone import: whether each has a share.
PERTURBATIONS = {
    "letters": False,
    "diacritics": True,
    "tatweel": True,
    "digits": False,
    "keyboard": True,
    "english": True,
}
EXAMPLE = "write it as arabic+letters, arabic+keyboard-0.1, or with a seed arabic+keyboard-0.1-s2"
#: Between the name of a task or group and its perturbation.
SEPARATOR = "+"
#: Kind, share, and a seed other than 1.
FORM = re.compile(r"([a-z]+)(?:-([0-9.]+))?(?:-s([0-9]+))?")
#: The letter of a choice before its text, as some data sets have it: it stays, as it is scored.
CHOICE_LABEL = re.compile(r"\s*(?:[أبجد]|هـ|[A-E]|[0-9])\s*[).:\-]\s*")


class Perturbation(NamedTuple):
    """How the texts of items are changed."""

    kind: str
    share: float = 1.0
    """Share of the letters, words or nouns that may be changed."""
    seed: int = 1

    def apply(self, text: str) -> str:
        """The changed text; equal texts are changed alike, so that an answer stays one of its
        choices.
        """
        from hala_hpc.engines.evaluation.perturbations.spelling import CHANGES

        label = CHOICE_LABEL.match(text)
        start = label.end() if label else 0
        rest = text[start:]
        digest = blake2b(rest.encode(), salt=self.seed.to_bytes(8, "big")).digest()
        return text[:start] + CHANGES[self.kind](rest, self.share, random.Random(digest))


def plain_entry(entry: str) -> str:
    """An entry of `tasks`, or the name of one of its tasks, without its perturbation."""
    return entry.partition(SEPARATOR)[0]


def perturbation_ending(entry: str) -> str:
    """What a perturbed entry has after the plain one, as `+keyboard-0.1`; "" for a plain one."""
    return entry[len(plain_entry(entry)) :]


def read_perturbation(entry: str) -> Perturbation | None:
    """The perturbation of an entry that has no mistakes; None for a plain one."""
    ending = perturbation_ending(entry)
    found = FORM.fullmatch(ending[1:])
    if not ending or found is None:
        return None
    return Perturbation(found[1], float(found[2] or 1), int(found[3] or 1))


def perturbation_mistakes(entry: str) -> list[str]:
    """A line for each mistake in the perturbation of an entry."""
    ending = perturbation_ending(entry)
    if not ending:
        return []
    found = FORM.fullmatch(ending[1:])
    if found is None:
        return [f"tasks: {entry}: {ending[1:]!r} is no perturbation; {EXAMPLE}"]
    kind, share = found[1], found[2]
    if kind not in PERTURBATIONS:
        hint = suggest_name(kind, list(PERTURBATIONS), "perturbations")
        return [f"tasks: {entry}: unknown perturbation {kind!r}: {hint}"]
    if not PERTURBATIONS[kind]:
        return [f"tasks: {entry}: {kind} has no share; {EXAMPLE}"] if share else []
    try:
        is_share = 0 < float(share or 0) <= 1
    except ValueError:
        is_share = False
    return [] if is_share else [f"tasks: {entry}: {kind} needs a share above 0, up to 1; {EXAMPLE}"]

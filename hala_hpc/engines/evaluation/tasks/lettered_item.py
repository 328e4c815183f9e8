"""The columns that a multiple-choice question of a leaderboard gets, as lighteval asks it."""

from dataclasses import dataclass
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError

#: What a model without chat template is asked; `doc_to_text` of our task files.
PLAIN_PROMPT = "plain_prompt"
#: What the user's turn is where the chat template is applied.
CHAT_PROMPT = "chat_prompt"


@dataclass(frozen=True)
class LetteredItem:
    """A question whose answer is the letter or the number of a choice."""

    instruction: str | None
    """What precedes every question of a task; None if the prompt is complete as it is."""
    question: str
    """The question with its choices, up to the place of the answer."""
    labels: tuple[str, ...]
    """The strings that are scored, one for each choice."""
    gold: int
    """Index of the correct one."""

    def columns(self) -> dict[str, Any]:
        """The columns of the item that a task file names.

        lighteval 0.13.0 joins instruction and question by an empty line without chat template, and
        by nothing in the user's turn; each question is stripped.
        """
        if self.instruction is None:
            plain = chat = self.question
        else:
            question = self.question.strip()
            plain = f"{self.instruction}\n\n{question}"
            chat = f"{self.instruction}{question}"
        return {
            PLAIN_PROMPT: plain,
            CHAT_PROMPT: chat,
            "choice_labels": list(self.labels),
            "gold_index": self.gold,
        }


def find_gold(key: object, labels: tuple[str, ...], question: object) -> int:
    """Index of the correct answer among the labels.

    Raises: UserError (BAD_DATA) if it is not one of them, with the question.
    """
    if key in labels:
        return labels.index(str(key))
    raise UserError(
        f"the correct answer {key!r} is not among the choices {', '.join(labels)} of the question "
        f"{str(question)[:80]!r}; report it to the authors of the data set, and fetch an earlier "
        "commit of it",
        BAD_DATA,
    )

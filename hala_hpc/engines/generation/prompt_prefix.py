"""The lines that all prompts begin with are cut into tokens once, not once for every row."""

from collections.abc import Callable, Sequence

#: Shorter beginnings are cut with every prompt: nothing is won by them.
LEAST_CHARACTERS = 100
#: Words after the beginning, to try whether it can stand alone: each kind of character that a
#: tokenizer may tie to its neighbours, none at all, and all of them in a row.
PROBES = (
    "", " ", "\n", "\n\n x", "a", "Ab c", "0", "12 345", ".", "'s", "-", "{x}", "<|im_end|>", "\t",
    "\u0301e", "\u0645\u0631\u062d\u0628\u0627", "\u4f60\u597d", "\U0001f600", "\u200d", "\u00a0",
)  # fmt: skip

#: Ids of texts, with the special tokens that a prompt takes (True) or without any.
Cut = Callable[[Sequence[str], bool], list[list[int]]]


class FixedWords:
    """Ids of prompts, exactly as `cut` makes them; faster for those that begin with `start`.

    What is cut alone ends with a line break, at which tokenizers part a text before they merge
    anything. Whether this one does is tried: where it does not, every prompt is cut whole.
    """

    def __init__(self, cut: Cut, start: str) -> None:
        self.cut = cut
        self.start = whole_lines(start)
        self.ids: list[int] = []
        if len(self.start) < LEAST_CHARACTERS or not self._stands_alone(start):
            self.start = ""

    def _stands_alone(self, start: str) -> bool:
        """Whether the beginning has the same ids whatever follows; keeps them."""
        prompts = [start + probe for probe in (*PROBES, "".join(PROBES))]
        wholes = self.cut(prompts, True)
        rests = self.cut([prompt.removeprefix(self.start) for prompt in prompts], False)
        self.ids = wholes[0][: len(wholes[0]) - len(rests[0])]
        return all(w == self.ids + rest for w, rest in zip(wholes, rests, strict=True))

    def __call__(self, prompts: Sequence[str]) -> list[list[int]]:
        """Ids of prompts, in one call of the tokenizer where they all begin alike."""
        if not self.start or not all(prompt.startswith(self.start) for prompt in prompts):
            return self.cut(prompts, True)
        rests = self.cut([prompt.removeprefix(self.start) for prompt in prompts], False)
        return [self.ids + rest for rest in rests]


def whole_lines(start: str) -> str:
    """The lines before the last one with words, which stays with the text that follows it."""
    last = start.rstrip("\n").rfind("\n") + 1
    # White space after a line break may be tied to it.
    return start[:last] if last and not start[last].isspace() else ""

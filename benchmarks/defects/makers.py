"""Functions that plant one kind of defect into a correct pair, as observed in models' outputs.

A maker takes a pair and a random generator, and returns the pair to check. It returns None if the
pair has nothing for this kind of defect. Some need markup that few pairs have: they add it to both
sides first.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.defects import answers, phrases

Pair = tuple[str, str]
_NUMBER = re.compile(r"(?<![\w%{$.,٫])\d+(?:[.,٫]\d+)*(?![\w}%])")
_TAG = re.compile(r"</?[a-z]+>")


@dataclass(frozen=True)
class Makers:
    """Makers with one half of the phrases: `tune` for tuning the checks, `report` to measure."""

    half: str

    def half_of(self, of: list[str]) -> list[str]:
        """Return every other phrase."""
        return of[0 if self.half == "tune" else 1 :: 2]

    def all(self) -> dict[str, Callable[[Pair, random.Random], Pair | None]]:
        """Return the maker of each kind of defect by name."""
        phrase_makers = {
            "refusal_english": self.replaced_by(phrases.REFUSALS_ENGLISH),
            "refusal_arabic": self.replaced_by(phrases.REFUSALS_ARABIC),
            "remark_before": self.around(before=phrases.REMARKS_BEFORE),
            "remark_after": self.around(after=phrases.REMARKS_AFTER),
            "leak_before": self.around(before=phrases.LEAKS_BEFORE),
            "leak_after": self.around(after=phrases.LEAKS_AFTER),
            "third_script": self.inside(phrases.THIRD_SCRIPT),
            "literal_break": self.inside(phrases.ESCAPES),
            "placeholder_invented": self.inside(phrases.PLACEHOLDERS),
        }
        answer_makers = {
            **{name: self.around(before=texts) for name, texts in answers.BEFORE.items()},
            **{name: self.around(after=texts) for name, texts in answers.AFTER.items()},
            **{
                name: self.with_number(source, wrong)
                for name, (source, wrong) in answers.NUMBERS.items()
            },
        }
        return {
            **_MAKERS,
            **phrase_makers,
            **answer_makers,
            **{name: self.in_language(name) for name in _LANGUAGES},
        }

    def replaced_by(self, texts: list[str]) -> Callable[[Pair, random.Random], Pair]:
        """Replace the translation by one of the texts."""
        chosen = self.half_of(texts)
        return lambda pair, draw: (pair[0], draw.choice(chosen))

    def around(
        self, before: list[str] | None = None, after: list[str] | None = None
    ) -> Callable[[Pair, random.Random], Pair]:
        """Add one of the texts before or after the translation."""
        first, last = self.half_of(before or ["", ""]), self.half_of(after or ["", ""])
        return lambda pair, draw: (pair[0], draw.choice(first) + pair[1] + draw.choice(last))

    def with_number(
        self, source: str, wrong: list[str]
    ) -> Callable[[Pair, random.Random], Pair | None]:
        """Add a sentence with a number to the source, and a wrong one to the translation."""
        chosen = self.half_of(wrong)
        return lambda pair, draw: (f"{pair[0]} {source}", f"{pair[1]} {draw.choice(chosen)}")

    def inside(self, texts: list[str]) -> Callable[[Pair, random.Random], Pair]:
        """Insert one of the texts between two words of the translation."""
        chosen = self.half_of(texts)
        return lambda pair, draw: (pair[0], insert(pair[1], draw.choice(chosen), draw))

    def in_language(self, language: str) -> Callable[[Pair, random.Random], Pair | None]:
        """Replace it by sentences of another language, about as long as the source."""
        sentences = self.half_of(phrases.FOREIGN[language])

        def make(pair: Pair, draw: random.Random) -> Pair | None:
            if len(pair[0]) < 25:
                return None
            text = draw.choice(sentences)
            # Adds a space and a sentence each time, so it ends.
            while len(text) < 0.7 * len(pair[0]):
                text += " " + draw.choice(sentences)
            return pair[0], text

        return make


def insert(text: str, inserted: str, draw: random.Random) -> str:
    """Insert a text between two words."""
    words = text.split(" ")
    words.insert(draw.randint(1, len(words)), inserted)
    return " ".join(words)


def is_sentence(text: str, min_length: int = 25) -> bool:
    """Whether a text is long enough and more than half of its words are in lower case."""
    words = text.split()
    small = [word for word in words if word.isalpha() and word.islower() and len(word) > 1]
    return len(text) >= min_length and len(words) >= 4 and len(small) >= max(3, len(words) // 2)


def empty(pair: Pair, draw: random.Random) -> Pair | None:
    """No text, or punctuation only."""
    return (
        (pair[0], draw.choice(["", " ", "\n", "...", '""', "-", "\u200f", "»"]))
        if len(re.findall(r"[A-Za-z]", pair[0])) > 3
        else None
    )


def copied(pair: Pair, draw: random.Random) -> Pair | None:
    """The source instead of a translation, unchanged or with other punctuation."""
    source = pair[0]
    if not is_sentence(source):
        return None
    return source, draw.choice([source, source.lower(), f'"{source}"', source.rstrip(".") + " ."])


def echoed(pair: Pair, draw: random.Random) -> Pair | None:
    """The source beside its translation."""
    if not is_sentence(pair[0]):
        return None
    between = draw.choice(["\n", " ", "\n\n", " - "])
    first, second = draw.choice([pair, pair[::-1]])
    return pair[0], first + between + second


def half_translated(pair: Pair, draw: random.Random) -> Pair | None:
    """A half of the source, then a half of the translation, or the other way round."""
    source, translation = pair[0].split(), pair[1].split()
    if not is_sentence(pair[0], 60) or len(source) < 12:
        return None
    halves = [source[: len(source) // 2], translation[len(translation) // 2 :]]
    draw.shuffle(halves)
    return pair[0], " ".join(halves[0] + halves[1])


def loop_of_word(pair: Pair, draw: random.Random) -> Pair | None:
    """One word repeated to the end, after a good start."""
    words = pair[1].split()
    start = words[: draw.randint(1, len(words))]
    return pair[0], " ".join(start + [draw.choice(words)] * draw.randint(6, 60))


def loop_of_phrase(pair: Pair, draw: random.Random) -> Pair | None:
    """A few words repeated many times."""
    words = pair[1].split()
    if len(words) < 5:
        return None
    size = draw.randint(2, min(8, len(words)))
    start = draw.randint(0, len(words) - size)
    return pair[0], " ".join(
        words[: start + size] + words[start : start + size] * draw.randint(3, 20)
    )


def repeated_translation(pair: Pair, draw: random.Random) -> Pair | None:
    """The whole translation two or three times."""
    if len(pair[1].split()) < 6:
        return None
    return pair[0], draw.choice([" ", "\n", "\n\n"]).join([pair[1]] * draw.randint(2, 3))


def loop_of_letters(pair: Pair, draw: random.Random) -> Pair | None:
    """A letter or a syllable repeated to the end."""
    syllable = draw.choice(["ا", "هه", "لا", "ـ", "!", "ية", "0", "."])
    return pair[0], pair[1] + syllable * draw.randint(20, 200)


def other_number(pair: Pair, draw: random.Random) -> Pair | None:
    """A number of the translation changed."""
    found = list(_NUMBER.finditer(pair[1]))
    if not found:
        return None
    number = draw.choice(found)
    digits = re.search(r"\d+$", number.group())
    assert digits is not None
    value = int(digits.group())
    changed = draw.choice([value + 1, value * 10 + 5, value + 13, int(str(value)[::-1]) + 7])
    wrong = number.group()[: digits.start()] + str(changed)
    return pair[0], pair[1][: number.start()] + wrong + pair[1][number.end() :]


def lost_number(pair: Pair, draw: random.Random) -> Pair | None:
    """A number of the translation left out."""
    found = list(_NUMBER.finditer(pair[1]))
    if not found or not _NUMBER.search(pair[0]):
        return None
    number = draw.choice(found)
    return pair[0], pair[1][: number.start()] + pair[1][number.end() :]


def invented_number(pair: Pair, draw: random.Random) -> Pair | None:
    """A number in the translation that the source does not have."""
    return pair[0], insert(pair[1], str(draw.choice([3, 7, 15, 42, 100, 365, 1999, 2.5])), draw)


def lost_placeholder(pair: Pair, draw: random.Random) -> Pair | None:
    """A protected span in the source alone."""
    return pair[0] + " " + draw.choice(phrases.PLACEHOLDERS), pair[1]


def broken_placeholder(pair: Pair, draw: random.Random) -> Pair | None:
    """A protected span that came back with a letter, a sign or a space changed."""
    span = draw.choice(phrases.PLACEHOLDERS)
    place = draw.randrange(len(span) - 1)
    wrong = draw.choice(
        [
            span[:place] + span[place + 1 :],
            span[:place] + "ا" + span[place + 1 :],
            span[: place + 1] + "_" + span[place + 1 :],
            span.replace("name", "الاسم").replace("count", "العدد").replace("git", "غيت"),
        ]
    )
    return (f"{pair[0]} {span}", f"{pair[1]} {wrong}") if wrong != span else None


def lost_tag(pair: Pair, draw: random.Random) -> Pair | None:
    """One of a pair of tags left out, or both."""
    tag = draw.choice(["b", "i", "em", "strong", "code", "span"])
    wrong = draw.choice([f"<{tag}>{pair[1]}", f"{pair[1]}</{tag}>", pair[1]])
    return f"<{tag}>{pair[0]}</{tag}>", wrong


def broken_tag(pair: Pair, draw: random.Random) -> Pair | None:
    """A tag that was translated, changed or left open."""
    wrong = draw.choice(["<b>{}</ b>", "<ب>{}</ب>", "<b>{}<b>", "< b>{}</b>", "<b>{}</i>"])
    return f"<b>{pair[0]}</b>", wrong.format(pair[1].replace("{", "").replace("}", ""))


def line_break(pair: Pair, draw: random.Random) -> Pair | None:
    """A line break between two words, in the translation of one line."""
    if "\n" in pair[0] or len(pair[1].split()) < 2:
        return None
    first, *rest = pair[1].split()
    place = draw.randint(0, len(rest) - 1)
    return pair[0], " ".join([first, *rest[:place]]) + "\n" + " ".join(rest[place:])


def quoted(pair: Pair, draw: random.Random) -> Pair | None:
    """Quotes around the translation of a text without any."""
    if re.search(r"[\"'“”‘’«»*_`-]|\n", pair[0]):
        return None
    return pair[0], draw.choice(['"{}"', "«{}»", "“{}”"]).format(pair[1].replace("{", ""))


def lost_markdown(pair: Pair, draw: random.Random) -> Pair | None:
    """Markdown syntax that only the source has."""
    template = draw.choice(
        ["**{}**", "# {}", "- {}\n- {}", "1. {}\n2. {}", "| {} | {} |", "> {}", "*{}*"]
    )
    return template.replace("{}", pair[0]), template.count("{}") * (pair[1] + " ")


def invented_markdown(pair: Pair, draw: random.Random) -> Pair | None:
    """Markdown syntax that only the translation has."""
    template = draw.choice(["**{}**", "## {}", "- {}", "**{}", "[{}](", "> {}", "~~{}~~"])
    return pair[0], template.replace("{}", pair[1])


def half_length(pair: Pair, draw: random.Random) -> Pair | None:
    """The second half of a long translation left out."""
    if len(pair[0]) < 150:
        return None
    words = pair[1].split(" ")
    return pair[0], " ".join(words[: round(len(words) * draw.uniform(0.3, 0.5))])


def double_length(pair: Pair, draw: random.Random) -> Pair | None:
    """Twice as much as there should be: the words of the translation again, in another order."""
    if len(pair[0]) < 150:
        return None
    words = pair[1].split(" ")
    return pair[0], pair[1] + " " + " ".join(draw.sample(words, len(words)))


def unwanted_word(pair: Pair, draw: random.Random) -> Pair | None:
    """A name that was not written as it should be: `Hala` is wanted to be `هالة`."""
    return f"Hala: {pair[0]}", f"{draw.choice(['حلا', 'هلا', 'Hala', 'حالا'])}: {pair[1]}"


_MAKERS: dict[str, Callable[[Pair, random.Random], Pair | None]] = {
    make.__name__: make
    for make in (
        *(
            empty,
            copied,
            echoed,
            half_translated,
            loop_of_word,
            loop_of_phrase,
            repeated_translation,
        ),
        *(loop_of_letters, other_number, lost_number, invented_number, lost_placeholder),
        *(broken_placeholder, lost_tag, broken_tag, lost_markdown, invented_markdown),
        *(line_break, quoted),
        *(half_length, double_length, unwanted_word),
    )
}
_LANGUAGES = tuple(phrases.FOREIGN)

"""Choose what raters see: seeded, blind, and each system as often first as every other."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import bidirectional

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.rating.rated_texts import RatedText
from hala_hpc.engines.rating.rating_records import RatedItem, RatingSample

#: Characters of a text that a person can rate at a time; longer ones are not chosen.
MAX_RATED_CHARACTERS = 4000
ID_LETTERS = 12


@dataclass(frozen=True)
class SampleRequest:
    """How a sample is chosen."""

    name: str
    seed: int
    items: int
    """Items with outputs of the systems."""
    attention_items: int
    """Items more, whose best output is known."""
    language: str = ""
    """Language of the forms; empty for that of the outputs, if the forms have it."""


def choose_sample(texts: Sequence[RatedText], request: SampleRequest) -> RatingSample:
    """Choose a sample; equal texts and an equal request make an equal one.

    Raises: UserError (BAD_DATA) if no text can be rated.
    """
    distinct = {(one.source, *one.outputs.values()): one for one in texts}
    usable = sorted(
        (one for one in distinct.values() if is_short(one)), key=lambda one: (one.id, one.source)
    )
    if not usable:
        raise UserError(
            f"no text of up to {MAX_RATED_CHARACTERS:,} characters in {len(texts):,}", BAD_DATA
        )
    source = random.Random(request.seed)
    shuffled = source.sample(usable, len(usable))
    chosen, others = shuffled[: request.items], shuffled[request.items :]
    systems = list(chosen[0].outputs)
    orders = balanced_orders(systems, len(chosen), source)
    items = [
        RatedItem(
            id=make_item_id(request.seed, one),
            source=one.source,
            outputs=tuple(one.outputs[name] for name in order),
            systems=order,
        )
        for one, order in zip(chosen, orders, strict=True)
    ]
    for item in make_attention_items(others or chosen, len(systems), request, source):
        items.insert(source.randint(1, len(items)), item)
    content = "\n".join(f"{item.id} {item.outputs}" for item in items)
    return RatingSample(
        id=hash_letters(f"{request.name} {request.seed} {content}"),
        name=request.name,
        seed=request.seed,
        systems=tuple(systems),
        items=tuple(items),
        language=request.language or find_form_language(chosen),
        left_out=len(distinct) - len(usable),
    )


def is_short(text: RatedText) -> bool:
    """Whether a person can rate it in one sitting."""
    longest = max(map(len, (text.source, text.reference, *text.outputs.values())))
    return longest <= MAX_RATED_CHARACTERS


def balanced_orders(
    systems: Sequence[str], number: int, source: random.Random
) -> list[tuple[str, ...]]:
    """An order of the systems for each item: each system is as often in each place, within one."""
    orders: list[tuple[str, ...]] = []
    while len(orders) < number:
        order = source.sample(list(systems), len(systems))
        turns = [tuple(order[turn:] + order[:turn]) for turn in range(len(order))]
        orders += source.sample(turns, len(turns))
    return orders[:number]


def make_attention_items(
    texts: Sequence[RatedText], systems: int, request: SampleRequest, source: random.Random
) -> list[RatedItem]:
    """Items with one good output, the others being those of another source.

    The good one is the reference, else the output of the first system. None if the texts have no
    two different good outputs.
    """
    good = [(one, one.reference or next(iter(one.outputs.values()))) for one in texts]
    items: list[RatedItem] = []
    for one, right in good[: request.attention_items]:
        foreign = [text for _, text in good if text.strip() != right.strip() and text.strip()]
        if not right.strip() or not foreign:
            continue
        best = source.randrange(systems)
        outputs = [source.choice(foreign) for _ in range(systems)]
        outputs[best] = right
        # Its id must not be that of the same text in the sample.
        key = hash_letters(f"attention {request.seed} {one.id} {one.source}")
        items.append(RatedItem(id=key, source=one.source, outputs=tuple(outputs), best=best))
    return items


def make_item_id(seed: int, text: RatedText) -> str:
    """An id of a text that says nothing about it."""
    return hash_letters(f"item {seed} {text.id} {text.source}")


def hash_letters(text: str) -> str:
    """The first hexadecimal digits of a hash."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:ID_LETTERS]


def find_form_language(texts: Sequence[RatedText]) -> str:
    """Arabic if most outputs begin with Arabic letters, else English."""
    outputs = [output for one in texts for output in one.outputs.values()]
    arabic = sum(first_direction(output) == "AL" for output in outputs)
    return "ar" if 2 * arabic > len(outputs) else "en"


def first_direction(text: str) -> str:
    """Direction of the first letter that has one, as Unicode names it; empty if none has."""
    return next((found for one in text if (found := bidirectional(one)) in ("L", "R", "AL")), "")

"""The head of a recipe for a pair of languages: how to run it, what is missing, what that costs."""

import textwrap
from collections.abc import Iterator

from hala_hpc.commands.new_recipe.pair_recipe import OWN_PAIRS, OWN_TEST
from hala_hpc.commands.new_recipe.pair_request import DEFAULT_BASE, PAPER_TEACHER, PairRequest
from hala_hpc.commands.new_recipe.pair_sizes import PairSizes
from hala_hpc.data.text.language_support import (
    OWN_DIGITS,
    LanguageGap,
    find_gaps,
    find_test_gaps,
)

#: Languages that the card of LFM2 lists.
BASE_LANGUAGES = frozenset({"ar", "de", "en", "es", "fr", "ja", "ko", "zh"})
WIDTH = 96


def recipe_head(request: PairRequest, sizes: PairSizes) -> str:
    """The comment at the top of the recipe."""
    target, name = request.target, request.file.name
    given = " ".join(f"{key}={value}" for key, value in request.arguments.items() if key != "to")
    lines = [
        f"# {target.name} from {request.source.name}: translator, tuned and merged model, scores.",
        "#",
        f"#   hala launch recipe={name} stage=translator-scores work={request.work} dry_run=true",
        "#",
        *comment(f"Written by: hala new {given}"),
        *comment(
            "Rehearse it first, with rehearse=true, and read its samples. Values that the recipe "
            "hala explains are the same here; none was tuned for this language."
        ),
        "#",
        *comment(
            f"Script: {', '.join(target.scripts) or 'not listed'}. Digits: "
            + (
                "as the model writes them; checks.digits sets one kind."
                if target.code in OWN_DIGITS
                else "0 to 9."
            )
        ),
        *comment(
            "Sentences: long texts are cut by sentencex with rules for English"
            + ("" if request.source.code == "en" else f", not for {request.source.name}")
            + "; most segments are whole messages."
        ),
        *comment(f"Sizes: for {request.gpus} GB of GPU memory, by the estimates of a dry run."),
        "#",
        "# Missing, what that costs, and what to do:",
    ]
    gaps = list(all_gaps(request, sizes))
    for gap in gaps:
        text = f"{gap.missing}: {gap.cost}. {gap.fix[0].upper()}{gap.fix[1:]}."
        lines += textwrap.wrap(text, WIDTH, initial_indent="# - ", subsequent_indent="#   ")
    if not gaps:
        lines.append("# - nothing that is known here")
    return "\n".join(lines) + "\n\n"


def comment(text: str) -> list[str]:
    """A paragraph as lines of a comment."""
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def all_gaps(request: PairRequest, sizes: PairSizes) -> Iterator[LanguageGap]:
    """Everything that is missing: models, pairs, checks, tests, sizes."""
    target, source = request.target, request.source
    if sizes.teacher_problem:
        yield LanguageGap(
            sizes.teacher_problem,
            "the translator learns from pairs of people only, which are few kinds of text",
            "write the recipe again with teacher= or more gpus=",
        )
    if request.teacher and (request.teacher != PAPER_TEACHER or not target.teacher):
        yield LanguageGap(
            f"whether {request.teacher} knows {target.name} is unknown here",
            "its translations may be poor, and the checks find form, not meaning",
            "translate 200 rows of test-pairs with it and look at the scores first",
        )
    if not request.opus:
        code = target.code
        yield LanguageGap(
            f"OPUS-100 has no pairs of {source.name} and {target.name}",
            f"{OWN_PAIRS.format(code=code)} and {OWN_TEST.format(code=code)} are for you to write",
            f'put rows {{"translation": {{"{source.code}": ..., "{code}": ...}}}} into them, '
            "at least some 10,000 and 1,000, and no text in both",
        )
    if request.base == DEFAULT_BASE and target.code not in BASE_LANGUAGES:
        yield LanguageGap(
            f"{request.base} lists 8 languages, and {target.name} is not one of them",
            "tuning has to teach the language, and its tokens for a word are more",
            "compare the scores of base and tuned, and try another base=",
        )
    if target.code not in BASE_LANGUAGES:
        yield LanguageGap(
            f"whether the judge knows {target.name} is unknown",
            "its verdicts may be random",
            "read the accepted and rejected samples of a rehearsal",
        )
    if source.code != "en":
        yield LanguageGap(
            "the instructions of this recipe are English",
            f"nothing of them is in {source.name}",
            f"replace data of [english] by instructions in {source.name}",
        )
    yield from find_gaps(target)
    yield from find_test_gaps(target)
    if sizes.training_problem:
        yield LanguageGap(
            sizes.training_problem,
            "the sizes here are the smallest in memory, and slow",
            "fetch it, and read the page of dry_run=true format=markdown",
        )

"""What codes of a run mean, for readers who know neither the code nor its settings.

A reason or a stage that is not here, as one of a lab's own, is shown without an explanation.
"""

from collections.abc import Sequence

from hala_hpc.engines.reporting.node_facts import NodeFacts

#: What each stage does.
STAGE_MEANINGS = {
    "prepare": "reads data sets, brings their rows into one form, and removes duplicates",
    "quantize": "stores a model in numbers of fewer bits, so that it needs less memory",
    "filter": "lets a language model judge rows, and rejects bad ones",
    "translate": "lets a language model translate rows, and checks every translation",
    "tokenize": "turns texts into the numbers that a model is trained on",
    "sft": "trains a model further on examples (supervised fine-tuning)",
    "merge": "mixes the weights of a trained model with those of the model that it began from",
    "evaluate": "measures models with benchmarks or by their translations",
    "report": "writes a page such as this",
}
#: What was found in a row that is rejected for a reason.
REASON_MEANINGS = {
    # Of checks of a translation.
    "empty": "the translation is empty",
    "template_leak": "signs of the model's own format are in the translation",
    "refusal": "the answer refuses the task",
    "comment": "the model commented on its work, besides the translation",
    "copied": "the translation repeats the source",
    "wrong_language": "the translation is in another language",
    "script": "parts of the translation are in another script",
    "repetition": "the translation repeats itself",
    "placeholders": "a placeholder, code or address of the source is missing or changed",
    "markup": "markup of the source is missing or changed",
    "lines": "the translation has more lines than the source",
    "structure": "lists, tables or headings differ from those of the source",
    "numbers": "numbers differ from those of the source",
    "glossary": "a prescribed term was not used",
    "length_ratio": "one side is much longer than the other",
    "truncated": "the answer ended at the token limit",
    # Of the rows that prepare reads.
    "duplicate": "equal to an earlier row",
    "near-duplicate": "nearly equal to an earlier row",
    "contaminated": "shares a passage with a benchmark",
    "repeated": "equal to many earlier rows but for numbers and punctuation",
    "empty-answer": "the answer has no visible character",
    "empty-text": "a text of the row is empty",
    "placeholder-answer": "the answer only says that there is none",
    "copied-answer": "the answer repeats the message before it",
    "code": "the row is about code",
    "dropped": "a setting of the run leaves such rows out",
    "other-language": "not in the language of the data",
    "tool-use": "the row uses tools",
    "no-answer": "no message of the row is an answer",
    "bad-utf8": "the text is damaged",
    "bad-tool-call": "a call of a tool is damaged",
    "bad-tools": "the list of tools is damaged",
    # Of filter.
    "rejected_by_judge": "the judge found it bad",
    "blank": "one side is empty",
    "control_sequence": "control signs are in the text",
    "broken_letters": "letters were read in the wrong encoding",
    "entity": "signs of HTML are in the text",
    "subtitle_code": "codes of subtitles are in the text",
    "too_short": "too short to judge",
    "too_many_characters": "too long",
    "few_letters": "mostly signs that are no letters",
    "other_numbers": "numbers of the two sides differ",
    "source_language": "the source is in another language",
    "target_language": "the translation is in another language",
}


def explain_reason(reason: str) -> str:
    """What a reason means; empty if it is not known here."""
    return REASON_MEANINGS.get(reason, "")


def explain_stages(nodes: Sequence[NodeFacts]) -> list[str]:
    """A line for each stage of a run that is known here, in the order of the run."""
    stages = dict.fromkeys(node.stage for node in nodes)
    return [f"{one}: {STAGE_MEANINGS[one]}." for one in stages if one in STAGE_MEANINGS]

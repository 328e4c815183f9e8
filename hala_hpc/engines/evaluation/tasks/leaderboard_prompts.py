"""Prompts of the Open Arabic LLM Leaderboard v2, as lighteval 0.13.0 makes them.

Each function gets the rows of a data set and adds the columns of LetteredItem. Golden strings of
lighteval are in tests/golden; benchmarks/peers/lighteval_golden.py writes them.
"""

from typing import Any

from hala_hpc.engines.evaluation.tasks.lettered_item import LetteredItem, find_gold

#: The letters of choices. The fifth has two characters, which its score is divided by.
ARABIC_LETTERS = ("أ", "ب", "ج", "د", "هـ", *"وزحطيكلمنسعفصقرشتثخذضظغ")
LATIN_LETTERS = ("A", "B", "C", "D", "E")
ANSWER = "الإجابة:"
CHOOSE = "السؤال التالي هو سؤال متعدد الإختيارات. اختر الإجابة الصحيحة:\n\n"
CHOOSE_OF_THREE = "السؤال التالي هو سؤال متعدد الإختيارات. اختر الإجابة الصحيحة: أ، ب أو ج. \n\n"
WITH_ANSWER = "الأسئلة التالية هي أسئلة متعددة الإختيارات مع الجواب الصحيح"
FROM_CONTEXT = "بناءً على السياق أدناه، اختر الإجابة الصحيحة للسؤال التالي من قائمة الأجوبة:\n\n"


def alghafa(rows: Any) -> Any:
    """AlGhafa: choices `sol1` to `sol5`, as many as the configuration has columns, from 0."""
    return rows.map(alghafa_columns)


def alghafa_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of AlGhafa."""
    choices = [row[name] for name in ("sol1", "sol2", "sol3", "sol4", "sol5") if name in row]
    labels = tuple(str(number) for number in range(len(choices)))
    lines = [f"{label}) {choice}" for label, choice in zip(labels, choices, strict=True)]
    question = "\n".join([f"السؤال: {row['query']}", *lines, ANSWER])
    gold = find_gold(str(int(row["label"])), labels, row["query"])
    return LetteredItem(f"{WITH_ANSWER}\n\n", question, labels, gold).columns()


def arabic_mmlu(rows: Any) -> Any:
    """ArabicMMLU: two to five options with Arabic letters, without the context of a question."""
    return rows.map(arabic_mmlu_columns)


def arabic_mmlu_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of ArabicMMLU."""
    labels, gold, lines = lettered_options(row)
    question = "\n".join([str(row["Question"]), *lines, ANSWER])
    return LetteredItem(CHOOSE, question, labels, gold).columns()


def madinah_qa(rows: Any) -> Any:
    """MadinahQA: as ArabicMMLU, with the context; a missing one is printed as `None`."""
    return rows.map(madinah_qa_columns)


def madinah_qa_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of MadinahQA."""
    labels, gold, lines = lettered_options(row)
    before = ["السياق:", f"{row['Context']}", "السؤال:", f"{row['Question']}"]
    question = "\n".join([*before, *lines, ANSWER])
    return LetteredItem(FROM_CONTEXT, question, labels, gold).columns()


def lettered_options(row: dict[str, Any]) -> tuple[tuple[str, ...], int, list[str]]:
    """Labels, index of the correct one and lines of `Option 1` to `Option 5`; empty ones are out.

    A letter stays that of its option: a row without its second option has أ and ج.
    """
    letters = enumerate(zip(LATIN_LETTERS, ARABIC_LETTERS[:5], strict=True), 1)
    options = [(latin, arabic, row.get(f"Option {number}")) for number, (latin, arabic) in letters]
    given = [option for option in options if option[2]]
    latin = tuple(key for key, _, _ in given)
    gold = find_gold(row["Answer Key"], latin, row["Question"])
    lines = [f"{letter}. {option}" for _, letter, option in given]
    return tuple(letter for _, letter, _ in given), gold, lines


def arabic_mmlu_ht(rows: Any) -> Any:
    """MMLU translated by people: choices are numbered from 1, and numbers are scored."""
    return rows.map(arabic_mmlu_ht_columns)


def arabic_mmlu_ht_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of MMLU translated by people."""
    choices = row["choices"]
    labels = tuple(str(number) for number in range(1, len(choices) + 1))
    lines = [f"{label}. {choice}" for label, choice in zip(labels, choices, strict=True)]
    question = "\n".join([row["question"], *lines, ANSWER])
    gold = find_gold(str(row["answer"] + 1), labels, row["question"])
    return LetteredItem(CHOOSE, question, labels, gold).columns()


def aratrust(rows: Any) -> Any:
    """AraTrust: three choices, whose texts begin with their letters."""
    return rows.map(aratrust_columns)


def aratrust_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of AraTrust."""
    labels = ARABIC_LETTERS[:3]
    question = "\n".join([row["Question"], row["A"], row["B"], row["C"], ANSWER])
    gold = find_gold(row["Answer"], labels, row["Question"])
    return LetteredItem(CHOOSE_OF_THREE, question, labels, gold).columns()


def exams(rows: Any) -> Any:
    """EXAMS: four choices, an empty line between them, and the subject in the instruction."""
    return rows.map(exams_columns)


def exams_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of EXAMS."""
    labels = ARABIC_LETTERS[:4]
    choices = [row[name] for name in LATIN_LETTERS[:4]]
    lines = [f" {label}) {choice}\n" for label, choice in zip(labels, choices, strict=True)]
    question = "\n".join([f"السؤال: {row['question']}", *lines, ANSWER])
    gold = find_gold(row["answer"], LATIN_LETTERS[:4], row["question"])
    instruction = f"{WITH_ANSWER} حول {row['subject'].replace('_', ' ')}. \n\n"
    return LetteredItem(instruction, question, labels, gold).columns()


def qimma(rows: Any) -> Any:
    """QIMMA: rows have ready prompts; choices are scored by Arabic letters."""
    return rows.map(qimma_columns)


def qimma_columns(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a question of QIMMA, whose index may be a list of one."""
    count, index = len(row["choices"]), row["index"]
    [only] = index if isinstance(index, list) and len(index) == 1 else [index]
    gold = find_gold(str(only), tuple(str(number) for number in range(count)), row["prompt"])
    return LetteredItem(None, row["prompt"], ARABIC_LETTERS[:count], gold).columns()

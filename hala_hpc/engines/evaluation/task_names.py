"""Names of lm-eval's tasks that mislead, each with the right one."""

from collections.abc import Iterable
from difflib import get_close_matches

#: Not what their names say: refused.
REFUSED = {
    "arabic_leaderboard_complete": "is version 1 of the Arabic leaderboard; version 2 is 'arabic'",
    "arabic_leaderboard_light": "is a tenth of version 1 of the Arabic leaderboard; version 2 is "
    "'arabic'",
    "arabic_leaderboard_arabic_mmlu": "is MMLU translated by a machine, not ArabicMMLU, which is "
    "'oall_arabic_mmlu'; translated by people it is 'oall_arabic_mmlu_ht'",
    "arabic_leaderboard_arabic_mmlu_light": "is a tenth of MMLU translated by a machine, not "
    "ArabicMMLU, which is 'oall_arabic_mmlu'; translated by people it is 'oall_arabic_mmlu_ht'",
}
#: What they say, but not as the leaderboard measures it: a warning in the log of the job.
DIFFERENT = {
    "arabic_leaderboard_alghafa": "scores texts of answers, and weights nine parts by their size; "
    "the leaderboard's is 'oall_alghafa'",
    "arabicmmlu": "asks in English and adds country and level; the leaderboard's is "
    "'oall_arabic_mmlu'",
    "arabic_exams": "has a blank before each answer; the leaderboard's is 'oall_exams'",
    "arabic_leaderboard_arabic_exams": "has a blank before each answer; the leaderboard's is "
    "'oall_exams'",
    "AraDiCE": "mixes English, dialects and culture, and has no mean; 'dialect_aradice' and "
    "'culture_aradice' have one",
    "belebele_arb_Latn": "is Arabic in Latin letters; in Arabic letters it is 'belebele_arb_Arab'",
    "egymmlu": "was translated by a machine",
    "darijammlu": "was translated by a machine",
}
#: Names that papers and other tools use, but lm-eval does not.
USED_ELSEWHERE = {
    "aradice": "AraDiCE",
    "darija_bench": "darijammlu",
    "madinah_qa": "oall_madinah_qa",
    "aratrust": "oall_aratrust",
    "arabic_mmlu": "oall_arabic_mmlu",
    "arabic_mmlu_ht": "oall_arabic_mmlu_ht",
    "alghafa": "oall_alghafa",
    "oall": "arabic",
    "oall_v2": "arabic",
    "aralingbench": "linguistic",
}


def describe_refused_task(task: str, include_path: str | None) -> str | None:
    """Why a task is refused, with the right name; None if it is not.

    A lab's own folder of task files may give such a name another meaning.
    """
    if include_path is not None or task not in REFUSED:
        return None
    return (
        f"lm-eval task {task!r} {REFUSED[task]}; to run it all the same, name it in a group of "
        "your own (include_path)"
    )


def describe_unknown_task(task: str, known: list[str], include_path: str | None) -> str:
    """Error message for an unknown task, with the right or the closest known name."""
    near = [USED_ELSEWHERE[task]] if task in USED_ELSEWHERE else []
    near = near or get_close_matches(task, known, n=1, cutoff=0.6)
    # A list of thousands of names would not help.
    hint = f"did you mean {near[0]!r}?" if near else "`lm_eval ls tasks` lists them"
    where = f", include_path={include_path}" if include_path else ""
    return f"unknown lm-eval task {task!r}{where}; {hint}"


def warnings_about(tasks: Iterable[str]) -> list[str]:
    """A line for each task that is not measured as the leaderboard does."""
    return [f"task {task} {DIFFERENT[task]}" for task in tasks if task in DIFFERENT]

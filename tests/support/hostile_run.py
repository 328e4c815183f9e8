"""A run whose names, data and answers are given texts, everywhere where a page shows any."""

from collections.abc import Sequence
from pathlib import Path

from made_run import MadeRun, write_pairs, write_rejected_lines, write_translation_scores

from hala_hpc.engines.evaluation.score_files import TranslatedSentence

CURVE = [
    {"step": 1, "loss": 6.5, "learning_rate": 0.0, "tokens_per_s": 900.0},
    {"step": 30, "loss": 0.25, "learning_rate": 0.001, "tokens_per_s": float("inf")},
]


def make_run_of_texts(work: Path, texts: Sequence[str]) -> MadeRun:
    """Write a run in which every text is a name, a reason, a row and an answer."""
    run = MadeRun(work)
    count = len(texts)
    # Records hold no lone surrogates; rows of data may.
    names = [text.encode(errors="replace").decode() for text in texts]
    prepared = run.add(
        names[0],
        "prepare",
        rows_in=2 * count,
        rows_out=count,
        rows_rejected=count,
        rejected=dict.fromkeys(names, 1),
        versions=dict(zip(names, names, strict=True)),
        because=tuple(names),
        commit=names[1],
    )
    write_rejected_lines(prepared.output, list(zip(texts, reversed(texts), strict=True)))
    translated = run.add(names[2], "translate", rows_in=count, rows_out=count, inputs=(names[0],))
    write_pairs(
        translated.output / "part-00000.parquet", list(zip(names, names[::-1], strict=True))
    )
    write_pairs(
        translated.output / "rejected" / "part-00000.parquet",
        list(zip(names, names[::-1], strict=True)),
        reason=names[3],
        said=names[4],
    )
    for name in names[5:7]:
        details = {
            "curve": CURVE,
            "engine": name,
            "dtype": name,
            "steps": 30,
            "ranks": 1,
            "loss_first": 6.5,
            "loss_last": 0.25,
        }
        run.add(name, "sft", details, inputs=(names[2],))
    run.add(names[12], names[13], details={"kind": names[14]})
    labels = [names[15], names[16]]
    scores = {label: {f"{name}/acc": 0.5 for name in names} for label in labels}
    evaluated = run.add(
        names[17],
        "evaluate",
        {
            "scores": scores,
            "signatures": {label: dict(zip(names, names, strict=True)) for label in labels},
            "samples": {labels[0]: dict.fromkeys(names, 3)},
        },
        units=2,
        inputs=(names[5],),
    )
    sentences = [
        TranslatedSentence(str(n), text, names[-n], names[n // 2]) for n, text in enumerate(names)
    ]
    write_translation_scores(evaluated.output, labels, dict.fromkeys(labels, sentences))
    run.finish()
    return run

"""The check of protected spans finds what a translation broke, and nothing where all came back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

from benchmarks.common.waiting import WAIT_S


def check(tmp_path: Path, **columns: list[Any]) -> tuple[dict[str, int], str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), tmp_path / "part-00000.parquet")
    command = [sys.executable, "-m", "benchmarks.protected", f"{tmp_path}"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=WAIT_S
    )
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == (1 if counts["rows_broken"] else 0), ended.stderr
    return counts, ended.stderr


PRESERVED = [
    ("run\n```py\nx = 1\n```\nnow", "شغل\n```py\nx = 1\n```\nالآن"),
    ("`a` and ``b`c``", "``b`c`` و`a`"),
    (
        r"\begin{a}\begin{b}1\end{b}\end{a} $x^2$ \(y\)",
        r"\(y\) $x^2$ \begin{a}\begin{b}1\end{b}\end{a}",
    ),
    ("<b>x</b> https://a.org/b, me@a.org", "<b>س</b> https://a.org/b، me@a.org"),
    ("it costs $5 and $10 / 2 =$ 5", "يكلف 5 و 10 دولارات"),
    ("{name} %s &nbsp; <<3+4=7>> {{x}}", "{{x}} <<3+4=7>> &nbsp; %s {name}"),
]
BROKEN = [
    ("run\n```py\nx = 1\n```\nnow", "شغل\n```py\nس = 1\n```\nالآن"),
    ("`a` and `a`", "`a`"),
    ("$$x$$", "$$ x $$"),
    ("see <i>x</i>", "انظر <i>س</ i>"),
    ("https://a.org/b", "https://a.org/ب"),
    ("%(name)s", "%(الاسم)s"),
]


def test_all_that_came_back_is_not_broken(tmp_path: Path) -> None:
    sources, targets = zip(*PRESERVED, strict=True)
    counts, _ = check(tmp_path, source=list(sources), target=list(targets))
    assert counts == {"rows": 6, "rows_with_spans": 5, "spans": 15, "rows_broken": 0}


@pytest.mark.parametrize(("source", "target"), BROKEN)
def test_a_part_that_changed_is_broken(tmp_path: Path, source: str, target: str) -> None:
    counts, output = check(tmp_path, source=[source], target=[target])
    assert counts["rows_broken"] == 1
    assert output.startswith("row 0 lost [")


def test_conversations_are_compared_message_by_message(tmp_path: Path) -> None:
    before = [[{"role": "user", "content": "`a`"}, {"role": "assistant", "content": "`b`"}]] * 3
    swapped = [{"role": "user", "content": "`b`"}, {"role": "assistant", "content": "`a`"}]
    after = [before[0], swapped, before[0][:1]]
    counts, _ = check(tmp_path, messages_source=before, messages=after)
    assert counts == {"rows": 3, "rows_with_spans": 3, "spans": 6, "rows_broken": 2}

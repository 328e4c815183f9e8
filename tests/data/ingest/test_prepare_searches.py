"""prepare finds near duplicates, repeats and rows of benchmarks; it names what each is like."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plain_out import PlainContext, PlainInputs, run_plain
from prepare_runs import prepare, summary
from pydantic import ValidationError

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.records import UnitMarker
from hala_hpc.data.corpus.reader import read_part
from hala_hpc.data.ingest.near_duplicates import band_recall, choose_band_size
from hala_hpc.data.ingest.prepare_settings import PrepareSettings
from hala_hpc.stages.prepare import STAGE

WORDS = [
    first + second + third
    for first in ("ba", "do", "ki", "lu", "me")
    for second in ("ra", "ne", "so", "ti")
    for third in ("n", "ck", "st", "lla")
]
ARABIC = "ولدت الكاتبة في مدينة صغيرة على الساحل ثم انتقلت مع أسرتها إلى العاصمة حيث درست الأدب"
#: Han, without spaces.
CHINESE = "北京是中华人民共和国的首都是全国政治文化国际交往和科技创新中心也是世界著名古都"


def prose(seed: int, length: int) -> list[str]:
    """Words of an invented text, the same for the same seed."""
    return random.Random(seed).choices(WORDS, k=length)


def alpaca(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"instruction": question, "output": answer, **more}


def changed(words: Sequence[str], *places: int) -> list[str]:
    return [f"new{number}" if number in places else word for number, word in enumerate(words)]


def text(seed: int, *places: int, length: int = 60) -> str:
    return " ".join(changed(prose(seed, length), *places))


def write(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


class Prepared:
    """The result of prepare in this process: as a job runs it, with its check."""

    def __init__(self, folder: Path, rows: Sequence[Any], **settings: Any) -> None:
        self.data = write(folder, rows)
        number = len(list(folder.glob("run*")))
        given = {"data": self.data, "units": 2, "max_rejected_fraction": 1, **settings}
        out = run_plain("prepare", given, folder / f"run{number}")
        self.markers = [out.markers[unit] for unit in sorted(out.markers)]
        self.quality: dict[str, Any] = self.markers[0].details["quality"]
        self.rows = [
            row
            for unit in out.markers
            for row in read_part(out.folder(unit) / f"part-{unit:05d}.parquet")
        ]
        self.lost: list[dict[str, Any]] = [
            json.loads(line)
            for unit in out.markers
            for line in (out.folder(unit) / f"rejected-{unit:05d}.jsonl").read_text().splitlines()
        ]
        assert len(self.rows) + len(self.lost) == len(rows)

    @property
    def reasons(self) -> dict[int, str]:
        """The reason of each rejected row, by line."""
        return {row["line"]: row["reason"] for row in sorted(self.lost, key=lambda r: r["line"])}

    @property
    def joined(self) -> dict[int, int]:
        """The line that each rejected row was joined to."""
        return {row["line"]: row["match"]["line"] for row in self.lost if "match" in row}


def test_a_launch_rejects_near_duplicates_and_lists_them_with_the_rows_that_stay(
    tmp_path: Path,
) -> None:
    rows = [alpaca(f"Question {number}", text(number)) for number in range(20)]
    rows += [alpaca(f"question {number}!", text(number, 30).upper()) for number in range(8)]
    rows.append(alpaca("Question 9", text(9, *range(0, 60, 2))))
    data = write(tmp_path, rows)
    ended = prepare(tmp_path, [Path(data)], "near_duplicates = 0.75")
    assert ended.code == 0, ended.err
    found = summary(tmp_path)
    assert (found["rows_in"], found["rows_out"]) == (29, 21)
    assert found["rejected"] == {"near-duplicate": 8}
    quality = found["details"]["quality"]
    assert quality["found"] == {"near-duplicate": 8}
    assert [(each["row"], each["match"]) for each in quality["listed"]] == [
        (f"{data}, line {21 + number}", f"{data}, line {1 + number}") for number in range(8)
    ]
    first = quality["listed"][0]
    assert (first["text"], first["match_text"]) == ("question 0!", "Question 0")
    assert 0.75 <= first["similarity"] < 1


def near_texts() -> dict[str, tuple[str, str, bool]]:
    """Two texts for each heading, and whether the second is a near duplicate at 0.75."""
    base = [prose(1000 + number, 60) for number in range(12)]
    one = [" ".join(words) for words in base]
    return {
        "case and punctuation": (one[0], ", ".join(base[0]).upper() + "!", True),
        "white space": (one[1], "\n\t ".join(base[1]), True),
        "one word of sixty": (one[2], " ".join(changed(base[2], 30)), True),
        "two words of sixty": (one[3], " ".join(changed(base[3], 5, 50)), True),
        "a sentence more": (one[4], one[4] + " " + text(2, length=8), True),
        "every second word": (one[5], " ".join(changed(base[5], *range(0, 60, 2))), False),
        "another order": (one[6], " ".join(sorted(base[6])), False),
        "half of the text": (one[7], " ".join(base[7][:30]), False),
        "nothing in common": (one[8], one[9], False),
        "compatibility forms": (one[10], one[10].replace("n", "ｎ"), True),
        "Arabic with another ending": (ARABIC, ARABIC + " واللغات", True),
        "Han without spaces": (CHINESE, CHINESE + "之", True),
        "other Han": (CHINESE[::-1], CHINESE[20:] + CHINESE[:5], False),
        "only symbols": ("+++", "---", False),
    }


def test_what_counts_as_nearly_equal(tmp_path: Path) -> None:
    near = near_texts()
    rows = [
        alpaca(f"Q{number}", answer, system=f"Prompt {number}. {text(99)}")
        for number, (one, other, _) in enumerate(near.values())
        for answer in (one, other)
    ]
    done = Prepared(tmp_path, rows, near_duplicates=0.75)
    names = list(near)
    found = {names[line // 2 - 1]: earlier == line - 1 for line, earlier in done.joined.items()}
    assert found == {name: True for name, (_, _, is_near) in near.items() if is_near}


def test_chains_of_small_changes_stay_and_every_joined_row_has_one_that_stays(
    tmp_path: Path,
) -> None:
    # Each differs from the one before it in two words, the last from the first in all.
    rows = [alpaca("Q", text(1, *range(2 * number))) for number in range(31)]
    random.Random(3).shuffle(rows)
    done = Prepared(tmp_path, rows, near_duplicates=0.7)
    staying = {row["messages"][1]["content"] for row in done.rows}
    assert 5 <= len(done.rows) <= 16
    assert all(rows[earlier - 1]["output"] in staying for earlier in done.joined.values())
    assert set(done.reasons.values()) == {"near-duplicate"}


def test_the_result_is_the_same_for_any_number_of_processes_files_and_units(
    tmp_path: Path,
) -> None:
    rows = [alpaca("Q", text(number % 40, number % 7 * 9)) for number in range(200)]
    one = Prepared(tmp_path / "one", rows, near_duplicates=0.8)
    assert 0 < len(one.lost) < 160
    several = Prepared(
        tmp_path / "several",
        rows,
        near_duplicates=0.8,
        units=5,
        resources={"cpus_per_rank": 1, "mem_gb": 1},
    )
    assert sorted(row["id"] for row in one.rows) == sorted(row["id"] for row in several.rows)
    assert one.joined == several.joined
    write(tmp_path / "files", rows[:90], "data/a.jsonl")
    write(tmp_path / "files", rows[90:], "data/b.jsonl")
    parts = Prepared(
        tmp_path / "files", rows, data=str(tmp_path / "files/data"), near_duplicates=0.8
    )
    assert sorted(row["id"] for row in parts.rows) == sorted(row["id"] for row in one.rows)


def test_a_unit_that_is_made_later_is_what_it_would_have_been(tmp_path: Path) -> None:
    rows = [alpaca("Q", text(number % 20, number)) for number in range(60)]
    given = {"data": write(tmp_path, rows), "units": 3, "near_duplicates": 0.65, "limit": 50}
    settings = PrepareSettings.model_validate(given)
    made = []
    for name, attempts in (("whole", [[0, 1, 2]]), ("resumed", [[1], [0, 2]])):
        stage = STAGE(settings, PlainInputs())
        markers: dict[int, UnitMarker] = {}
        for units in attempts:
            out = PlainContext(tmp_path / name, stage)
            stage.run(units, out)
            markers |= out.markers
        folders = [tmp_path / name / "output" / str(unit) for unit in range(3)]
        (tmp_path / name / "collected").mkdir()
        stage.collect([markers[unit] for unit in range(3)], folders, tmp_path / name / "collected")
        made.append(
            [
                (folder / f"rejected-{unit:05d}.jsonl").read_text()
                for unit, folder in enumerate(folders)
            ]
        )
        assert sum(marker.rows_in for marker in markers.values()) == 50
    assert made[0] == made[1]
    assert "".join(made[0]).count("near-duplicate") == 30


def test_counting_near_duplicates_keeps_all_rows_and_lists_the_pairs(tmp_path: Path) -> None:
    rows = [alpaca("Q", text(1)), alpaca("Q", text(2)), alpaca("Q", text(1, 3))]
    done = Prepared(tmp_path, rows, near_duplicates={"threshold": 0.8, "action": "count"})
    assert len(done.rows) == 3
    assert done.quality["found"] == {"near-duplicate": 1}
    assert [each["match"] for each in done.quality["listed"]] == [f"{done.data}, line 1"]
    pairs = [{"source": text(number % 2, number), "target": ARABIC} for number in range(4)]
    again = Prepared(tmp_path, pairs, near_duplicates={"threshold": 0.8, "shingle_size": 2})
    assert again.joined == {3: 1, 4: 2}


def test_thresholds_that_are_too_low_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"below 0\.5; give 0.5 to 1, or 0"):
        PrepareSettings.model_validate({"data": "a", "near_duplicates": 0.2})
    given = PrepareSettings.model_validate({"data": "a", "near_duplicates": "0.9"})
    assert given.near_duplicates.threshold == 0.9
    for threshold in (0.5, 0.7, 0.8, 0.9, 0.99, 1.0):
        assert band_recall(threshold, choose_band_size(threshold)) >= 0.99


#: What is asked of guest 1 and of the guest of a number, and whether only the number differs.
REPEATED = {
    "a number": ("Greet guest {}.", True),
    "a longer number": ("Seat {}00000 is free.", True),
    "a decimal number": ("It costs {}.50 euros.", True),
    "case": ("GREET all {} friends.", True),
    "punctuation": ("Wait: {}, now!", True),
    "a number in a word": ("Open room b{}x.", True),
    "Arabic digits": ("اذكر العدد ٣{} من القائمة", True),
    "Han": ("第{}天发生了什么", True),
    "two numbers": ("Add {} to {}.", True),
    "a number in words": ("Ask {words} people.", False),
    "another word": ("Call {name} today.", False),
}


def test_rows_that_repeat_with_other_numbers_are_limited(tmp_path: Path) -> None:
    spelled = ["one", "two", "three", "four", "five"]
    rows = [
        alpaca(question.format(n + 1, n + 7, words=spelled[n], name=WORDS[n]), "Yes")
        for question, _ in REPEATED.values()
        for n in range(5)
    ]
    assert len(Prepared(tmp_path, rows).rows) == 55
    rules = {"repeated": "reject", "max_repeats": 3}
    done = Prepared(tmp_path, rows, rules=rules)
    expected = {
        5 * number + later: 5 * number + 1
        for number, (_, is_repeated) in enumerate(REPEATED.values())
        for later in ((4, 5) if is_repeated else ())
    }
    assert done.joined == expected
    assert set(done.reasons.values()) == {"repeated"}
    counted = Prepared(tmp_path, rows, rules=rules | {"repeated": "count"})
    assert (len(counted.rows), counted.quality["found"]) == (55, {"repeated": 18})
    assert Prepared(tmp_path, rows, rules={"repeated": "reject"}).lost == []


def benchmark(folder: Path) -> str:
    """A folder with questions in fields of several names and depths."""
    rows = [
        {"question": text(1, length=20), "choices": {"text": ["yes", "no"], "label": [0, 1]}},
        {"ctx": {"deep": [{"premise": text(2, length=30)}]}, "label": 3},
        {"question": ARABIC},
        {"question": "What is two plus two?"},
    ]
    write(folder, rows, "bench/test.jsonl")
    write(folder, [{"prompt": text(3, length=20)}], "bench/deeper/train.jsonl")
    return str(folder / "bench")


#: The question and answer of a row, and the line of the benchmark that it shares 13 words with.
SHARED = {
    "a whole question": (text(1, length=20), "Yes", 1),
    "as an answer": ("Q", f"It is {text(1, length=20)}", 1),
    "thirteen words": ("Q", " ".join(prose(1, 20)[4:17]), 1),
    "twelve words": ("Q", " ".join(prose(1, 20)[4:16]), None),
    "a changed word in each twelve": ("Q", text(1, 6, 13, length=20), None),
    "other case and punctuation": ("Q", "; ".join(prose(1, 20)).upper(), 1),
    "a field below others": ("Q", text(2, length=30), 2),
    "in Arabic": ("Q", "قالت: " + ARABIC, 3),
    "too short to be searched": ("What is two plus two?", "Four", None),
    "over two messages": (" ".join(prose(1, 20)[:8]), " ".join(prose(1, 20)[8:16]), None),
    "nothing": ("Q", text(7), None),
    "a deeper file": (text(3, length=20), "x", 1),
}


def test_rows_that_share_long_runs_of_words_with_benchmarks_are_rejected(tmp_path: Path) -> None:
    rows = [alpaca(f"{question}", answer) for question, answer, _ in SHARED.values()]
    done = Prepared(tmp_path, rows, contamination=[benchmark(tmp_path)])
    expected = {number: line for number, (_, _, line) in enumerate(SHARED.values(), 1) if line}
    assert done.joined == expected
    assert set(done.reasons.values()) == {"contaminated"}
    assert done.quality["benchmarks"] == [
        {"name": str(tmp_path / "bench"), "rows": 5, "texts": 7, "short_texts": 3}
    ]
    shared = next(row["match"] for row in done.lost if row["line"] == 3)
    assert shared == {
        "where": str(tmp_path / "bench/test.jsonl"),
        "line": 1,
        "text": " ".join(prose(1, 20)[4:17]),
    }
    assert {each["reason"] for each in done.quality["listed"]} == {"contaminated"}


def test_contamination_is_only_counted_by_setting_and_has_a_length_and_a_split(
    tmp_path: Path,
) -> None:
    rows = [alpaca(question, answer) for question, answer, _ in SHARED.values()]
    bench = benchmark(tmp_path)
    counted = Prepared(tmp_path, rows, contamination=bench, contamination_action="count")
    assert len(counted.rows) == len(rows)
    assert counted.quality["found"] == {"contaminated": 7}
    shorter = Prepared(tmp_path, rows, contamination=bench, contamination_ngram=5)
    assert set(shorter.reasons) == {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12}
    split = Prepared(tmp_path, rows, contamination=bench, contamination_split="test")
    assert 12 not in split.reasons
    assert split.quality["benchmarks"][0]["rows"] == 4


def test_benchmarks_of_the_hub_are_fetched_and_read_in_all_subsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["README.md", "a/test.jsonl", "a/train.jsonl", "b/test-00000-of-00001.parquet", "x.png"]
    given = {"data": "owner/corpus", "contamination": ["owner/exams"]}
    stage = STAGE(PrepareSettings.model_validate(given), PlainInputs())
    assert stage.data_names(names, reference="owner/corpus") == ["README.md", "a/train.jsonl"]
    assert stage.data_names(names, reference="owner/exams") == names[1:4]
    of_split = PrepareSettings.model_validate(given | {"contamination_split": "test"})
    split = STAGE(of_split, PlainInputs())
    assert split.data_names(names, reference="owner/exams") == [names[1], names[3]]
    assert ("contamination", "owner/exams") in {
        (name, value) for name, value, _ in split.settings.references()
    }
    rows = [alpaca("Q", text(1)), alpaca("Q", text(2))]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(UserError, match="owner/exams: is not in the hub cache; run") as error:
        Prepared(tmp_path, rows, contamination="owner/exams")
    assert error.value.code == NO_INPUT
    repository = tmp_path / "hf/hub/datasets--owner--exams"
    write(repository, [{"prompt": text(2)}], f"snapshots/{'c' * 40}/law/test.jsonl")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("c" * 40)
    done = Prepared(tmp_path, rows, contamination="owner/exams", contamination_split="test")
    assert done.joined == {2: 1}


def test_benchmarks_that_are_missing_or_too_short_are_one_error(tmp_path: Path) -> None:
    data = write(tmp_path, [alpaca("Q", "A")])
    ended = prepare(tmp_path, [Path(data)], 'contamination = ["nowhere.jsonl", "none.csv"]')
    assert ended.code == 66, ended.err
    assert "contamination=nowhere.jsonl: there is no such file or folder" in ended.err
    assert "contamination=none.csv" in ended.err
    short = write(tmp_path, [{"question": "Too short"}], "short.jsonl")
    with pytest.raises(UserError, match="none of its 1 texts has 13 words; lower") as error:
        Prepared(tmp_path, [alpaca("Q", "A")], contamination=short)
    assert error.value.code == BAD_DATA


def test_one_row_found_by_several_searches_has_one_reason_and_all_are_counted(
    tmp_path: Path,
) -> None:
    rows = [
        alpaca("Q", text(1)),
        alpaca("Q", text(1, 30)),
        alpaca("Q", text(1)),
        alpaca("Q", "\u200b"),
        alpaca(text(5, length=20), "N/A"),
        alpaca("Q", ""),
    ]
    write(tmp_path, [{"question": text(5, length=20)}], "bench.jsonl")
    done = Prepared(
        tmp_path,
        rows,
        near_duplicates=0.8,
        contamination=str(tmp_path / "bench.jsonl"),
        rules={"placeholder_answer": "count", "repeated": "count", "max_repeats": 1},
    )
    assert done.reasons == {
        2: "near-duplicate",
        3: "duplicate",
        4: "empty-answer",
        5: "contaminated",
        6: "empty-text",
    }
    assert done.quality["found"] == {
        "near-duplicate": 1,
        "empty-answer": 1,
        "placeholder-answer": 1,
        "contaminated": 1,
    }
    assert sum(marker.rows_in for marker in done.markers) == 6


def test_a_corpus_of_which_no_row_is_left_is_an_error(tmp_path: Path) -> None:
    bench = write(tmp_path, [{"question": text(5)}], "bench.jsonl")
    with pytest.raises(UserError, match=r"2 of 2 rows are rejected \(contaminated 2\)"):
        Prepared(tmp_path, [alpaca(text(5), "A"), alpaca("Q", text(5))], contamination=bench)

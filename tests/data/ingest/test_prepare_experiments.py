"""Samples of equal size, damaged translations and the column of domains, as prepare makes them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from plain_out import PlainContext, PlainInputs
from prepare_runs import prepare, row

from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.reader import read_rows
from hala_hpc.data.ingest.damage import damage_row
from hala_hpc.data.ingest.damage_settings import DAMAGE_KINDS, Damage
from hala_hpc.data.ingest.prepare_settings import PrepareSettings
from hala_hpc.data.readers.adapters import Texts
from hala_hpc.stages.prepare import Prepare

SOURCE = "The 12 boys did not go to the school today"
TARGET = "لم يذهب 12 ولدا إلى المدرسة اليوم"


def pair(number: int) -> str:
    """A line with a pair of sentences, and a domain for two of three."""
    value = {"source": f"{SOURCE} {number}", "target": f"{TARGET} {number}"}
    if number % 3:
        value["topic"] = "news" if number % 3 == 1 else "law"
    return json.dumps(value, ensure_ascii=False)


def run_prepare(
    folder: Path, data: Path | str, corpora: Mapping[str, str] = {}, **settings: Any
) -> Any:
    """The rows and the counts of one unit of prepare, run in this process; `corpora` by node."""
    stage = Prepare(
        PrepareSettings.model_validate({"data": str(data), "units": 1, **settings}),
        PlainInputs(dict(corpora)),
    )
    context = PlainContext(folder, stage)
    stage.run([0], context)
    return list(read_rows(context.folder(0))), context.markers[0]


def test_a_sample_has_its_size_and_its_rows_whatever_their_order(tmp_path: Path) -> None:
    lines = [row(f"question {number}") for number in range(60)]
    found = []
    for name, ordered, size in (("a", lines, 20), ("b", lines[::-1], 20), ("c", lines, 5)):
        data = tmp_path / f"{name}.jsonl"
        data.write_bytes(b"".join(ordered))
        rows, marker = run_prepare(tmp_path / name, data, sample=size)
        found.append({one["id"] for one in rows})
        assert marker.rejected == {"not-sampled": 60 - size}
        assert marker.rows_in == 60 == marker.rows_out + marker.rows_rejected
    assert [len(ids) for ids in found] == [20, 20, 5]
    assert found[0] == found[1] > found[2]
    other, _ = run_prepare(tmp_path / "d", tmp_path / "a.jsonl", sample={"rows": 20, "seed": 1})
    assert {one["id"] for one in other} != found[0]
    with pytest.raises(UserError, match=r"sample\.rows=61: only 60 rows are accepted"):
        run_prepare(tmp_path / "e", tmp_path / "a.jsonl", sample=61)


def test_a_corpus_of_a_node_is_damaged_and_counted_and_has_its_domains(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f"{pair(number)}\n" for number in (*range(90), 1)))
    rows, marker = run_prepare(tmp_path / "plain", data, domain_field="topic")
    plain = {one["source"]: one for one in rows}
    assert marker.rejected == {"duplicate": 1}
    assert len(plain) == 90
    assert plain[f"{SOURCE} 1"]["domain"] == "news"
    assert plain[f"{SOURCE} 3"]["domain"] is None
    # Beside the shards of a node are its rejected rows, which are not read.
    node = {"@plain": str(tmp_path / "plain" / "output" / "0")}
    (Path(node["@plain"]) / "rejected").mkdir()
    (Path(node["@plain"]) / "rejected" / "part-00000.parquet").write_bytes(b"no rows")
    changed = []
    for share in (0.2, 0.5):
        settings = {"domain_field": "domain", "damage": share}
        rows, marker = run_prepare(tmp_path / str(share), "@plain", node, **settings)
        assert {one["source"]: one["domain"] for one in rows} == {
            source: one["domain"] for source, one in plain.items()
        }
        changed.append(
            {one["source"] for one in rows if one["target"] != plain[one["source"]]["target"]}
        )
        counted = marker.details["damaged"]
        assert sum(counted.values()) == len(changed[-1])
        assert set(counted) == set(DAMAGE_KINDS)
    # Drawn by content: a larger share damages the same rows and others.
    assert changed[0] < changed[1]
    assert 8 <= len(changed[0]) <= 30 < len(changed[1]) <= 60


def test_each_kind_of_damage_does_what_its_name_means() -> None:
    texts = Texts([], [SOURCE, TARGET])

    def damaged(kind: str, texts: Texts = texts, row: Mapping[str, object] | None = None) -> str:
        found, did = damage_row(
            texts, row or {}, Damage.model_validate({"share": 1, "kinds": [kind]})
        )
        assert found.texts[0] == texts.texts[0]
        assert did == (kind if found.texts != texts.texts else "")
        return found.texts[-1]

    assert damaged("negation") == "يذهب 12 ولدا إلى المدرسة اليوم"
    assert damaged("cut") == "لم يذهب 12"
    assert damaged("untranslated") == "لم يذهب 12 go to the school today"
    number = damaged("number").split()[2]
    assert number != "12"
    assert len(number) == 2
    # A word that begins as a negation does is no negation; too short a text is not halved.
    short = Texts([], ["No idea", "لاعب ولد"])
    assert {damaged(kind, short) for kind in DAMAGE_KINDS} == {"لاعب ولد"}
    answer = Texts(["user", "assistant"], ["سؤال", TARGET])
    translated = {"messages_source": [{"content": "Question"}, {"content": SOURCE}]}
    assert damaged("untranslated", answer, translated) == "لم يذهب 12 go to the school today"
    assert damaged("untranslated", answer) == TARGET


def test_what_cannot_be_is_one_error_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{pair(1)}\n")
    wrong = {
        "damage = 1.5": "damage.share=1.5",
        'damage = { share = 0.1, kinds = ["typo"] }': "damage.kinds.0='typo'",
        'domain = "news"\ndomain_field = "topic"': "domain and domain_field are both set",
    }
    for line, message in wrong.items():
        ended = prepare(tmp_path, [tmp_path / "rows.jsonl"], line)
        assert ended.code not in (0, 1)
        assert message in ended.err, (line, ended.err)

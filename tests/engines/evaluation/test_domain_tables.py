"""Translations by domain: domains come from the corpus, scores and gaps are shown for each."""

from pathlib import Path

from hala_hpc.data.corpus.reader import part_name, read_domains
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.evaluation.domain_tables import add_domains, domain_table, split_by_domain
from hala_hpc.engines.evaluation.score_files import TranslatedSentence

DOMAINS = ("news", "social", None)


def write_corpus(folder: Path, has_domains: bool) -> list[TranslatedSentence]:
    """A corpus of 93 pairs, and a system that translates news wrongly."""
    folder.mkdir()
    extra = {"domain": "string"} if has_domains else {}
    found = []
    with CorpusWriter(folder / part_name(0), "pairs", extra) as writer:
        for number in range(93):
            domain = "law" if number > 89 else DOMAINS[number % 3]
            reference = f"الجملة رقم {number} من النص الطويل"
            row = {"id": f"{number:032x}", "origin": "x", "source": f"s{number}"}
            writer.add({**row, "target": reference, "domain": domain})
            text = "كلام آخر تماما" if domain == "news" else reference
            found.append(TranslatedSentence(row["id"], row["source"], reference, text))
    return found


def test_scores_are_shown_by_domain_with_the_largest_gap_first(tmp_path: Path) -> None:
    rows = add_domains(write_corpus(tmp_path / "corpus", True), tmp_path / "corpus")
    assert [row.domain for row in rows[:3]] == ["news", "social", ""]
    perfect = [
        TranslatedSentence(row.id, row.source, row.reference, row.reference, row.domain)
        for row in rows
    ]
    domains = split_by_domain({"teacher": perfect, "student": rows})
    # Three sentences on law are too few for a score.
    assert {name: len(each["student"]) for name, each in domains.items()} == {
        "news": 30,
        "social": 30,
        "unknown": 30,
    }
    table = domain_table("scores, wmt24", domains)
    assert table.columns == ["domain", "sentences", "metric", "teacher", "student", "largest gap"]
    assert len(table.rows) == 6
    first = table.rows[0]
    assert (first[0], first[1], first[3]) == ("news", "30", "100.00")
    assert float(first[4]) < 5
    assert table.rows[1][3] == table.rows[1][4] == "100.00"


def test_a_corpus_without_domains_has_no_such_table(tmp_path: Path) -> None:
    rows = write_corpus(tmp_path / "corpus", False)
    assert read_domains(tmp_path / "corpus") == {}
    found = add_domains(rows, tmp_path / "corpus")
    assert found == rows
    assert split_by_domain({"teacher": found}) == {}

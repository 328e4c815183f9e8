"""`publish` writes a folder that the hub takes, with a card made of the records of the run."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT
from command_line import CommandResult, run_command
from hub_stand_in import GOOD_TOKEN
from hub_upload_stand_in import HubUploadStandIn
from huggingface_hub import DatasetCard, ModelCard, parse_eval_result_entries
from jsonschema import Draft7Validator
from made_run import MadeRun, write_pairs
from quantize_python import run_heavy
from random_models import random_lfm2

from hala_hpc.core.records import InputFacts, NodeConfig
from hala_hpc.engines.evaluation.item_files import ItemOutcome, write_items, write_items_of_model
from hala_hpc.engines.evaluation.score_files import MergedScores, ModelScores

COMMIT = "c" * 40
#: Forms of others: schemas by their facts, and headings of the templates.
SCHEMAS = ROOT / "tests" / "golden" / "cards"
SCORES: dict[str, Any] = {
    "scores": {"base": {"exams/acc": 0.3}, "merged": {"exams/acc": 0.5}},
    "intervals": {"base": {"exams/acc": [0.25, 0.35]}, "merged": {"exams/acc": [0.45, 0.55]}},
    "samples": {"base": {"exams": 537}},
}
#: Loads a model in both libraries, without a network, and lets it answer.
ASK = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
from vllm import LLM, SamplingParams
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
tokens = AutoTokenizer.from_pretrained(sys.argv[1])("One", return_tensors="pt")
assert model.generate(**tokens, max_new_tokens=3).shape[1] > tokens["input_ids"].shape[1]
llm = LLM(sys.argv[1], max_model_len=128, max_num_seqs=2, enforce_eager=True)
ask = SamplingParams(temperature=0, max_tokens=3, ignore_eos=True)
assert len(llm.generate("One", ask, use_tqdm=False)[0].outputs[0].token_ids) == 3
"""


def write_model(folder: Path) -> None:
    """Files of a model as a merge leaves them."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.ones((2, 2), dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "lfm2", "vocab_size": 2}')
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\nThe card of the job.\n")
    (folder / "metrics").mkdir()
    (folder / "metrics" / "metrics.jsonl").write_text("{}\n")


def write_hub_card(cache: Path, kind: str, name: str, text: str) -> None:
    """A snapshot of the hub cache with a card."""
    folder = cache / "hub" / f"{kind}--{name.replace('/', '--')}" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\n{text}\n---\n# A card\n")


def make_run(work: Path) -> MadeRun:
    """A run that translates with a teacher, trains, merges and evaluates."""
    run = MadeRun(work)
    arabic = run.add(
        "arabic",
        "translate",
        {},
        {"model": "lab/teacher", "source": "en", "target": "ar"},
        rows_in=3,
        rows_out=2,
        rows_rejected=1,
        rejected={"numbers": 1},
    )
    write_pairs(arabic.output / "part-00000.parquet", [("One", "واحد"), ("Two", "اثنان")])
    write_pairs(arabic.output / "rejected" / "part-00000.parquet", [("3", "4")], reason="numbers")
    add_hub_inputs(arabic.config_file, {"lab/teacher": "models", "lab/questions": "datasets"})
    sft = run.add("sft", "sft", {"steps": 3}, {"model": "lab/base"}, ("arabic",))
    add_hub_inputs(sft.config_file, {"lab/base": "models"})
    settings = {"base": "lab/base", "model": "@sft", "t": 0.5}
    merge = run.add("merge", "merge", {}, settings, ("sft",), versions={"torch": "2.13.0"})
    add_hub_inputs(merge.config_file, {"lab/base": "models"})
    write_model(merge.output)
    models = {"base": "lab/base", "merged": "@merge"}
    run.add("scores", "evaluate", SCORES, {"models": models, "tasks": ["exams"]}, ("merge",))
    run.add("page", "report")
    run.finish()
    return run


def add_hub_inputs(path: Path, repositories: dict[str, str]) -> None:
    """Add inputs from the hub to the record of a node."""
    config = NodeConfig.read(path)
    assert config is not None
    more = {
        name: InputFacts(kind="hub", fingerprint=COMMIT, repository=kind)
        for name, kind in repositories.items()
    }
    config.model_copy(update={"inputs": {**config.inputs, **more}}).write(path)


@pytest.fixture
def hub_home(tmp_path: Path) -> Path:
    """A hub cache with the cards of a base and of a teacher that forbids commercial use."""
    home = tmp_path / "hf"
    write_hub_card(home, "models", "lab/base", "license: apache-2.0")
    write_hub_card(home, "models", "lab/teacher", "license: cc-by-nc-4.0")
    return home


def publish(work: Path, home: Path, *arguments: str, **env: str) -> CommandResult:
    """Run the command with a hub cache."""
    line = (f"work={work}", *arguments)
    return run_command(*line, module="publish", cwd=None, HF_HOME=str(home), **env)


def missing_headings(card: Path, template: str) -> list[str]:
    """Headings of a template of the hub that a card lacks."""
    found = [line.strip() for line in card.read_text().splitlines() if line.startswith("#")]
    return [line for line in (SCHEMAS / template).read_text().splitlines() if line not in found]


def test_a_model_gets_the_strictest_license_of_all_that_it_is_made_of(
    work: Path, hub_home: Path
) -> None:
    make_run(work)
    write_hub_card(hub_home, "datasets", "lab/questions", "license: odc-by")
    ended = publish(work, hub_home, "node=merge")
    assert ended.code == 0, ended
    assert ended.out.startswith("license: cc-by-nc-4.0\n")
    assert "cc-by-nc-4.0, of lab/teacher, which arabic reads" in ended.out
    (folder,) = (work / "publish").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    card = ModelCard.load(folder / "README.md")
    values = card.data.to_dict()
    assert values["base_model"] == ["lab/base"]
    assert values["base_model_relation"] == "merge"
    assert values["datasets"] == ["lab/questions"]
    assert values["license"] == "cc-by-nc-4.0"
    for part in (
        "| exams, % | 30.0 [25.0, 35.0] | 50.0 [45.0, 55.0] | 537 |",
        f"| lab/teacher | model | {COMMIT} | arabic |",
        "| arabic | 3 | 2 | 1 | numbers 1 |",
        'AutoModelForCausalLM.from_pretrained(name, dtype="auto")',
        "| torch | 2.13.0 |",
    ):
        assert part in card.text, part
    assert str(work) not in card.text
    assert missing_headings(folder / "README.md", "model_card.md") == []
    # The result of the run is not changed by what people do to the folder.
    (folder / "config.json").write_text("{}")
    assert "lfm2" in (work / "node2-000000000002" / "output" / "config.json").read_text()


def test_an_unknown_license_stays_unknown(work: Path, hub_home: Path) -> None:
    make_run(work)
    ended = publish(work, hub_home, "node=merge")
    assert ended.code == 0, ended
    assert ended.out.startswith("license: unknown\n")
    assert "No license is known for lab/questions: ask" in ended.out
    assert "cc-by-nc-4.0, of lab/teacher" in ended.out


def test_a_corpus_gets_a_data_card_and_no_rejected_rows(work: Path, hub_home: Path) -> None:
    make_run(work)
    assert publish(work, hub_home, "node=arabic").code == 0
    (folder,) = (work / "publish").iterdir()
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["README.md", "data/part-00000.parquet"]
    assert missing_headings(folder / "README.md", "data_card.md") == []
    values = DatasetCard.load(folder / "README.md").data.to_dict()
    assert values["size_categories"] == ["n<1K"]
    assert values["language"] == ["en", "ar"]
    assert values["annotations_creators"] == ["machine-generated"]
    assert values["configs"][0]["data_files"][0]["path"] == "data/*.parquet"


def test_an_evaluation_is_written_as_every_eval_ever_takes_it(work: Path, hub_home: Path) -> None:
    run = make_run(work)
    output = run.folder(3) / "output"
    MergedScores(
        scores={
            "base": {"exams/acc": 0.3, "ter": 60.0},
            "merged": {"exams/acc": 0.5, "exams/perplexity": 9.0},
        },
        errors={"base": {"exams/acc": 0.02}, "merged": {"exams/acc": 0.02}},
        intervals={"base": {"exams/acc": (0.25, 0.35)}},
        samples={"base": {"exams": 3}, "merged": {"exams": 3}},
        signatures={"base": {"exams": "shots:5"}, "merged": {}},
    ).write(output / "scores.json")
    items = [
        ItemOutcome("exams", 0, "d0", "p0", "t0", "واحد", "واحد", "acc", 1.0, {"acc": 1.0}, [-1.0]),
        ItemOutcome("exams", 1, "d1", "p1", "t1", "اثنان", "</x>", "acc", 0.0, {"acc": 0.0}),
        ItemOutcome("exams", 2, "d2", "p2", "t2", "", excluded="equal choices"),
    ]
    write_items(output / "plain.parquet", items)
    write_items_of_model(output / "plain.parquet", "merged", output / "items-00001.parquet")
    ModelScores(label="merged", scores={"exams/acc": 0.5}, data={"lab/exams": COMMIT}).write(
        output / "scores-00000.json"
    )
    ended = publish(work, hub_home, "node=scores")
    assert ended.code == 0, ended
    folder = Path(ended.out.removeprefix("folder: ").strip())
    records = {path.parent.name: path for path in folder.rglob("*.json")}
    assert set(records) == {"base", "merged"}
    schemas = SCHEMAS / "every_eval.schema.json", SCHEMAS / "every_eval_item.schema.json"
    whole, item = (Draft7Validator(json.loads(path.read_text())) for path in schemas)
    for path in records.values():
        assert list(whole.iter_errors(json.loads(path.read_text()))) == []
    base = json.loads(records["base"].read_text())
    assert base["model_info"]["id"] == "lab/base"
    first, ter = base["evaluation_results"]
    assert first["score_details"] == {
        "score": 0.3,
        "details": {"signature": "shots:5"},
        "uncertainty": {
            "standard_error": {"value": 0.02},
            "confidence_interval": {"lower": 0.25, "upper": 0.35, "confidence_level": 0.95},
            "num_samples": 3,
        },
    }
    assert ter["metric_config"]["lower_is_better"]
    merged = json.loads(records["merged"].read_text())
    assert merged["evaluation_results"][0]["source_data"]["hf_repo"] == "lab/exams"
    detailed = merged["detailed_evaluation_results"]
    samples = folder / detailed["file_path"]
    lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert detailed["total_rows"] == len(lines) == 2, "what is excluded has no score"
    for line in lines:
        assert list(item.iter_errors(line)) == []
        assert line["evaluation_id"] == merged["evaluation_id"]
    assert [line["evaluation"]["is_correct"] for line in lines] == [True, False]


@pytest.mark.long
def test_a_benchmark_of_the_hub_has_a_file_that_the_hub_shows(work: Path, hub_home: Path) -> None:
    run = make_run(work)
    name = "gsm8k/exact_match,strict-match"
    for questions, expected in ((1319, True), (20, False)):
        MergedScores(
            scores={"merged": {name: 0.25, "exams/acc": 0.5}},
            errors={},
            samples={"merged": {"gsm8k": questions}},
            signatures={"merged": {"gsm8k": "shots:5"}},
        ).write(run.folder(3) / "output" / "scores.json")
        assert publish(work, hub_home, "node=merge").code == 0
        (folder,) = (work / "publish").iterdir()
        path = folder / ".eval_results" / "gsm8k.yaml"
        assert path.is_file() == expected, "a score of some questions is not that of the benchmark"
        if expected:
            (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
            assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "gsm8k", 25.0)
            assert entry.notes == "strict match; shots:5"
            assert [one.name for one in path.parent.iterdir()] == ["gsm8k.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("node=page",), 64, "a report makes nothing to publish"),
        (("node=scores", "upload=lab/scores"), 64, "only models and corpora are uploaded"),
        ((), 64, "node= is missing"),
        (("node=merge", "upload=nobody"), 64, "upload=nobody: write owner/name"),
        (("node=merg",), 64, "merge"),
    ],
)
def test_what_cannot_be_published_is_refused_with_the_reason(
    work: Path, hub_home: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    make_run(work)
    ended = publish(work, hub_home, *arguments)
    assert (ended.code, message in ended.err) == (code, True), ended


def test_a_file_that_names_this_machine_is_not_published(work: Path, hub_home: Path) -> None:
    run = make_run(work)
    config = run.folder(2) / "output" / "config.json"
    config.write_text(json.dumps({"model_type": "lfm2", "_name_or_path": str(work / "x")}))
    ended = publish(work, hub_home, "node=merge")
    assert (ended.code, "config.json names" in ended.err) == (65, True), ended
    assert not list((work / "publish").glob("node*"))


def test_the_folder_is_uploaded_only_when_a_name_is_given(work: Path, hub_home: Path) -> None:
    make_run(work)
    with HubUploadStandIn() as hub:
        env = {**hub.environment(hub_home), "HF_TOKEN": GOOD_TOKEN, "HF_HUB_DISABLE_XET": "1"}
        # Tests that run jobs set it for their process.
        env["HF_HUB_OFFLINE"] = "0"
        env.pop("HF_HOME")
        assert publish(work, hub_home, "node=merge", **env).code == 0
        assert hub.requests == []
        ended = publish(work, hub_home, "node=merge", "upload=lab/merged", **env)
        assert ended.code == 0, ended
        assert f"uploaded: {hub.endpoint}/lab/merged" in ended.out
        (folder,) = (work / "publish").iterdir()
        found = hub.repositories["models", "lab/merged"]
        uploaded = found.commits[found.refs["main"]]
        assert uploaded == {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {card.splitlines()[0] for card in hub.cards} == {"---"}, "the hub checked it"
        refused = publish(
            work, hub_home, "node=merge", "upload=lab/merged", **{**env, "HF_TOKEN": "hf_wrong"}
        )
        assert (refused.code, "hf auth login" in refused.err) == (69, True), refused


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_published_model_answers_in_both_libraries_from_its_folder_alone(
    work: Path, hub_home: Path, tmp_path: Path
) -> None:
    run = make_run(work)
    shutil.rmtree(run.folder(2) / "output")
    random_lfm2(run.folder(2) / "output")
    assert publish(work, hub_home, "node=merge").code == 0
    (folder,) = (work / "publish").iterdir()
    alone = shutil.copytree(folder, tmp_path / "alone")
    shutil.rmtree(work)
    run_heavy([sys.executable, "-c", ASK, str(alone)])

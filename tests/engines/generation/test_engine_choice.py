"""The engine that a setting names is found, or refused before a job starts."""

from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch, recipe
from corpora import pair, write_corpus
from standin_engine import StandInEngine, stand_in_config

from benchmarks.kills.node import STAND_IN_ENGINE, empty_model
from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.engine import Engine
from hala_hpc.engines.generation.engine_choice import engine_mistakes, make_engine
from hala_hpc.engines.generation.framed_engine import FramedEngine
from hala_hpc.engines.generation.settings import EngineSettings, GenerationSettings


def test_the_default_engine_leaves_fingerprints_as_they_are_and_another_does_not() -> None:
    named = EngineSettings(name="vllm")
    assert GenerationSettings(engine=named).result_half() == GenerationSettings().result_half()
    assert "name" not in named.result_half()
    assert EngineSettings(name=STAND_IN_ENGINE).result_half()["name"] == STAND_IN_ENGINE


@pytest.mark.parametrize("stage", ["translate", "filter", "evaluate"])
def test_a_dry_run_refuses_an_unknown_engine(tmp_path: Path, work: Path, stage: str) -> None:
    model = empty_model(tmp_path / "model")
    corpus = write_corpus(tmp_path / "c", [pair("One.", "")])
    inputs = f'model = "{model}"\ncorpus = "{corpus}"\n'
    if stage == "evaluate":
        inputs = f'models = {{ one = "{model}" }}\ntranslation = "{corpus}"\n'
    arguments = [recipe(tmp_path, f'[node]\nstage = "{stage}"\n{inputs}'), f"work={work}"]
    ended = launch("stage=all", *arguments, "node.engine.name=vlm", "dry_run=true")
    assert ended.code == CONFIG
    assert "node: engine.name=vlm: unknown engine; known are vllm; write " in ended.err


def test_the_package_imports_vllm_behind_the_choice_only() -> None:
    place = ROOT / "hala_hpc" / "engines" / "generation"
    importing = {
        path.name
        for path in (ROOT / "hala_hpc").rglob("*.py")
        if path.parent != place / "vllm" and "generation.vllm" in path.read_text()
    }
    assert importing == {"engine_choice.py"}


def test_a_name_that_cannot_be_a_class_is_refused_by_its_form() -> None:
    assert engine_mistakes("vllm") == engine_mistakes("my.engines:Mine") == []
    for name in ("my engine:Mine", "mine:", ":Mine", "a:b:c"):
        [mistake] = engine_mistakes(name)
        assert mistake.startswith(f"engine.name={name}: not of the form module:Class; write ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:Mine", "No module named 'nowhere'; put the folder of the module on PYTHONPATH"),
        ("standin_engine:Mine", "standin_engine has no Mine; write the name of a class in it"),
    ],
)
def test_a_class_that_is_not_there_stops_the_job_at_once(name: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        make_engine(stand_in_config(name=name))
    assert refused.value.code == CONFIG
    assert str(refused.value).startswith(f"engine.name={name}: {message}")


def test_an_installed_package_may_offer_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "offers-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: offers\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[hala_hpc.engines]\nletters = standin_engine:StandInEngine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert engine_mistakes("letters") == []
    engine: Engine = make_engine(stand_in_config(name="letters"))
    assert isinstance(engine, FramedEngine)
    assert isinstance(engine.inner, StandInEngine)
    [mistake] = engine_mistakes("leters")
    assert "known are letters, vllm" in mistake

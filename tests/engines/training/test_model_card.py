"""The card of a trained model: metadata that the hub accepts, and entries of the base's card."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hala_hpc.core.records import InputFacts, NodeConfig
from hala_hpc.engines.training.export import write_card
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.training_run import Training
from hala_hpc.stages.sft import Settings

BASE_CARD = """---
license: other
license_name: "a license: with a colon"
language: [ar, en]
base_model: someone/pretrained
tags: [of-the-base]
---
# A base
"""


def card_of(folder: Path, model: str, base_card: str | None) -> ModelCard:
    """Return the card of a model trained from `model`, which is in `folder / base`."""
    base, trained = folder / "base", folder / "trained"
    base.mkdir(parents=True)
    if base_card is not None:
        (base / "README.md").write_text(base_card, encoding="utf-8")
    settings = Settings(model=model, tokens="@tokens")
    training = Training(base, folder / "tokens", folder / "kept", settings)
    write_card(trained, training, TrainingFigures(steps=12, tokens_trained=345))
    return ModelCard.load(trained / "README.md")


def test_a_card_names_a_base_of_the_hub_and_what_that_states(tmp_path: Path) -> None:
    card = card_of(tmp_path, "someone/chat", BASE_CARD)
    assert card.data.to_dict() == {
        "base_model": "someone/chat",
        "language": ["ar", "en"],
        "library_name": "transformers",
        "license": "other",
        "license_name": "a license: with a colon",
        "pipeline_tag": "text-generation",
        "tags": ["sft", "hala_hpc"],
    }
    assert card.text.startswith("# someone/chat, fine-tuned\n")
    assert "| steps | 12 |" in card.text
    assert '"learning_rate"' in card.text


@pytest.mark.parametrize(
    "base_card", [None, "# No metadata", "---\n- a list\n---\n", "---\na: [\n---\n"]
)
def test_what_a_base_does_not_state_is_left_out(tmp_path: Path, base_card: str | None) -> None:
    card = card_of(tmp_path, "@sft", base_card)
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["sft", "hala_hpc"],
    }
    assert "# sft, fine-tuned" in card.text


def test_a_model_of_a_node_descends_from_what_its_own_base_names(tmp_path: Path) -> None:
    assert card_of(tmp_path, "@first", BASE_CARD).data.base_model == "someone/pretrained"


def test_the_license_of_a_card_follows_from_all_that_the_node_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, node = tmp_path / "hf", tmp_path / "work" / "sft-0123"
    commit = "c" * 40
    inputs = {}
    for kind, name, license_ in (
        ("models", "lab/base", "apache-2.0"),
        ("datasets", "lab/pairs", "cc-by-nc-4.0"),
    ):
        folder = home / "hub" / f"{kind}--{name.replace('/', '--')}" / "snapshots" / commit
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\nlicense: {license_}\n---\n")
        inputs[name] = InputFacts(kind="hub", fingerprint=commit, repository=kind)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    node.mkdir(parents=True)
    NodeConfig(
        node="sft", stage="sft", fingerprint="0123", units=1, settings={}, inputs=inputs
    ).write(node / "config.json")
    card = card_of(node / "attempt", "lab/base", "---\nlicense: apache-2.0\n---\n")
    assert card.data.license == "cc-by-nc-4.0"
    assert "cc-by-nc-4.0, of lab/pairs, which sft reads" in card.text

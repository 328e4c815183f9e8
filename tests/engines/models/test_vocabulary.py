"""A tokenizer that is not the model's own is found before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
from random_models import random_lfm2

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import start_engine
from hala_hpc.engines.models.vocabulary import embedding_rows, require_vocabulary


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_lfm2(tmp_path_factory.mktemp("model") / "model")


def with_added(model: Path, folder: Path, **token: Any) -> Path:
    """The model with one more token that the embedding does not have."""
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    added = {"id": embedding_rows(model), "content": "<extra>", "special": False} | token
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"] = [*tokenizer.get("added_tokens", []), plain | added]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_an_engine_refuses_a_token_beyond_the_embedding_before_it_loads(
    model: Path, tmp_path: Path
) -> None:
    wrong = with_added(model, tmp_path / "wrong")
    with pytest.raises(UserError, match="'<extra>' the id") as caught:
        start_engine(str(wrong), EngineSettings())
    assert caught.value.code == BAD_DATA


def test_a_special_token_beyond_the_embedding_is_none_that_a_text_has(
    model: Path, tmp_path: Path
) -> None:
    require_vocabulary(with_added(model, tmp_path / "special", special=True))


def test_a_model_with_its_own_tokenizer_and_one_that_is_not_here_pass(model: Path) -> None:
    require_vocabulary(model)
    require_vocabulary("nobody/knows-this")

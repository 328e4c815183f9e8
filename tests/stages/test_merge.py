"""merge: a tuned model and its base, by slerp and other methods; what is refused before it."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from command_line import launch
from merge_parents import changed_copy, tuned_copy
from plain_out import PlainInputs, run_plain
from random_models import LFM2_KEYS, random_cohere2, random_lfm2
from tiny_models import SENTENCES

from hala_hpc.commands.planning.plan import changed_settings
from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.stage import Stage
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.models.merging import arithmetic
from hala_hpc.engines.models.tensors import iter_tensors, tensor_headers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and a tuned model of the same shapes."""
    folder = tmp_path_factory.mktemp("merge")
    random_lfm2(folder / "base", seed=1)
    random_lfm2(folder / "tuned", seed=2)
    return folder


def merge(folder: Path, out: Path, **more: Any) -> Path:
    settings: dict[str, Any] = {"base": str(folder / "base"), "model": str(folder / "tuned")}
    settings["try_with"] = []
    return run_plain("merge", settings | more, out).folder(0)


def fault(folder: Path, out: Path, **more: Any) -> str:
    """Why a merge is refused; nothing of it is left."""
    with pytest.raises(UserError) as caught:
        merge(folder, out, **more)
    assert caught.value.code == BAD_DATA
    left = [path for path in out.rglob("*") if path.is_file() and "output" in path.parts]
    assert left == []
    return str(caught.value)


def preflight(**settings: Any) -> list[str]:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    return kind(kind.Settings(**settings), PlainInputs()).preflight()


def test_every_tensor_is_between_base_and_tuned(folder: Path, tmp_path: Path) -> None:
    merged = dict(iter_tensors(merge(folder, tmp_path)))
    base, tuned = dict(iter_tensors(folder / "base")), dict(iter_tensors(folder / "tuned"))
    assert merged.keys() == base.keys()
    for name, tensor in merged.items():
        if "norm" not in name:
            near = (tensor - base[name]).norm(), (tensor - tuned[name]).norm()
            apart = (base[name] - tuned[name]).norm()
            assert all(0.3 * apart < distance < 0.9 * apart for distance in near), name
            assert abs(near[0] - near[1]) < 0.02 * apart, name


def test_t_of_zero_is_the_base_and_of_one_the_tuned_model(folder: Path, tmp_path: Path) -> None:
    for t, name in ((0.0, "base"), (1.0, "tuned")):
        merged = dict(iter_tensors(merge(folder, tmp_path / name, t=t)))
        for key, tensor in iter_tensors(folder / name):
            assert (merged[key] - tensor).abs().max() < 1e-6, key


def test_the_tuned_model_gives_template_config_and_the_requested_type(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "tuned", tmp_path / "tuned")
    (tmp_path / "tuned" / "chat_template.jinja").write_text("{{ messages }}")
    settings = {"model": str(tmp_path / "tuned"), "dtype": "bfloat16"}
    assert "the chat templates differ: from character 1 on it is" in fault(
        folder, tmp_path / "refused", **settings
    )
    model = merge(folder, tmp_path, **settings, chat_template="any")
    assert (model / "chat_template.jinja").read_text() == "{{ messages }}"
    config = json.loads((model / "config.json").read_text())
    assert config.items() >= LFM2_KEYS.items()
    assert config["dtype"] == "bfloat16"
    assert {header.dtype for header in tensor_headers(model).values()} == {"BF16"}


def test_a_model_and_itself_are_refused_before_a_job_is_asked_for(folder: Path) -> None:
    base = str(folder / "base")
    faults = preflight(base=base, model=base + "/")
    assert faults == [
        f"base and model are both {base}: a merge needs two models; give the tuned one as model"
    ]
    tuned = str(folder / "tuned")
    assert preflight(base=base, model=[tuned, tuned], method="linear") == [
        f"model names {tuned} twice: give each tuned model once"
    ]
    assert preflight(base="@sft", model="@sft")[0].startswith("base and model are both @sft")
    assert preflight(base="@prepare", model="@sft") == []


def test_models_of_another_shape_are_refused_by_the_first_difference(
    folder: Path, tmp_path: Path
) -> None:
    random_cohere2(tmp_path / "other")
    with pytest.raises(UserError) as caught:
        merge(folder, tmp_path, model=str(tmp_path / "other"))
    assert "the models do not fit: model_type is 'lfm2' in" in str(caught.value)
    assert "but 'cohere2' in" in str(caught.value)
    random_lfm2(tmp_path / "deeper", layers=4)
    text = fault(folder, tmp_path / "out", model=str(tmp_path / "deeper"))
    assert "the models do not fit: tensor model.layers.3.conv.conv.weight is absent in" in text
    assert "but [64, 1, 3] in" in text


def swap_words(content: dict[str, Any]) -> None:
    words = content["model"]["vocab"]
    one, other = list(words)[10:12]
    words[one], words[other] = words[other], words[one]


def swap_added_tokens(content: dict[str, Any]) -> None:
    one, other = content["added_tokens"][:2]
    one["id"], other["id"] = other["id"], one["id"]


def rename_word(content: dict[str, Any]) -> None:
    words = content["model"]["vocab"]
    one = list(words)[10]
    words[f"{one}-renamed"] = words.pop(one)


def drop_word(content: dict[str, Any]) -> None:
    words = content["model"]["vocab"]
    del words[list(words)[10]]


def rename_added_token(content: dict[str, Any]) -> None:
    content["added_tokens"][0]["content"] = "<renamed>"


def add_token(content: dict[str, Any]) -> None:
    content["added_tokens"].append(content["added_tokens"][0] | {"content": "<new>", "id": 9999})


def swap_unigram_pairs(content: dict[str, Any]) -> None:
    pairs = content["model"]["vocab"]
    pairs[1], pairs[2] = pairs[2], pairs[1]


def rename_unigram_pair(content: dict[str, Any]) -> None:
    content["model"]["vocab"][1][0] = "renamed"


def drop_unigram_pair(content: dict[str, Any]) -> None:
    content["model"]["vocab"].pop()


OF_UNIGRAM = (swap_unigram_pairs, rename_unigram_pair, drop_unigram_pair)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (swap_words, "token"),
        (swap_added_tokens, "added token"),
        (rename_word, "token"),
        (drop_word, "token"),
        (rename_added_token, "added token"),
        (add_token, "added token"),
        *((change, "token") for change in OF_UNIGRAM),
        (lambda content: content["added_tokens"].pop(), "added token"),
    ],
)
def test_tokenizers_that_disagree_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], what: str
) -> None:
    for name in ("base", "tuned"):
        shutil.copytree(folder / name, tmp_path / name)
        file = tmp_path / name / "tokenizer.json"
        content = json.loads(file.read_text())
        if change in OF_UNIGRAM:
            content["model"] = {"type": "Unigram", "vocab": [["a", 0.0], ["b", -1.0], ["c", -2.0]]}
        if name == "tuned":
            change(content)
        file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"the tokenizers differ: {what} ") as caught:
        merge(tmp_path, tmp_path / "out")
    assert caught.value.code == BAD_DATA


def test_a_merge_with_a_number_that_is_none_is_not_marked(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder / "tuned", tmp_path / "merged")
    file = tmp_path / "merged" / "model.safetensors"
    weights = load_file(file)
    weights["model.layers.1.ffn_norm.weight"][3] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    settings: dict[str, Any] = {"base": str(folder / "base"), "model": str(folder / "tuned")}
    stage = kind(kind.Settings(**settings), PlainInputs())
    with pytest.raises(UserError, match=r"tensor model\.layers\.1\.ffn_norm\.weight has values"):
        stage.check(0, tmp_path / "merged")


def test_parameters_that_no_method_can_have_are_refused_on_the_login_node() -> None:
    two: dict[str, Any] = {"base": "@base", "model": ["@one", "@two"]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"method": "slerp"}, "model names 2 tuned models, and method=slerp takes 1 beside the"),
        ({"method": "linear", "weights": [0.5, 0.7]}, "weights sum to 1.2; of method=linear they"),
        ({"method": "linear", "weights": [0.5]}, "weights are 1 and the tuned models 2; give one"),
        ({"method": "ties"}, "density: method=ties needs it; give density=0.5"),
        ({"method": "ties", "density": 0}, "density=0: it is the share of the changes that is"),
        ({"method": "ties", "density": 0.5, "t": 0.5}, "t is no parameter of method=ties (it has:"),
        ({"method": "della", "density": 0.1}, "density=0.1 and epsilon=0.15: density minus and"),
        ({"method": "linear", "t": 1.5}, "t=1.5: it must be from 0 (the base) to 1 (the tuned"),
        ({"method": "linear", "t": {"norm": 2, "rest": 0}}, "t.norm=2: it must be from 0"),
        ({"method": "linear", "t": {"rest": []}}, "t.rest=[]: a gradient needs numbers"),
        ({"method": "task_arithmetic", "scale": float("nan")}, "scale=nan: it must be a finite"),
        ({"method": "model_stock", "model": ["@one"]}, "model names 1 tuned models, and method="),
    ]
    for settings, start in cases:
        faults = preflight(**two | settings)
        assert len(faults) == 1, (settings, faults)
        assert faults[0].startswith(start), (settings, faults)
    by_depth = [{"rest": [0.2, 0.4]}, {"rest": [0.8, 0.5]}]
    (mistake,) = preflight(**two, method="linear", weights=by_depth)
    assert mistake.startswith(
        "weights sum to 0.9 for attention layers at depth 1; of method=linear"
    )


def test_a_number_that_is_none_names_model_and_tensor_and_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    name = "model.layers.2.feed_forward.w2.weight"

    def spoil(key: str, tensor: Any) -> Any:
        if key == name:
            tensor[3, 5] = float("nan")
        return tensor

    spoilt = changed_copy(folder / "tuned", tmp_path / "spoilt", spoil)
    text = fault(folder, tmp_path / "out", model=str(spoilt))
    assert text.startswith(f"model {spoilt}: tensor {name} has values that are not finite")


def test_merged_numbers_that_the_type_cannot_hold_are_refused_before_they_are_written(
    folder: Path, tmp_path: Path
) -> None:
    name = "model.layers.2.feed_forward.w2.weight"

    def enlarge(key: str, tensor: Any) -> Any:
        if key == name:
            tensor[3, 5] = 3e5
        return tensor

    large = changed_copy(folder / "tuned", tmp_path / "large", enlarge)
    methods: dict[str, dict[str, float]] = {"linear": {}, "ties": {"density": 0.5}}
    for method, more in methods.items():
        out = tmp_path / method
        text = fault(folder, out, model=str(large), method=method, dtype="float16", **more)
        assert text.startswith(f"tensor {name} of the merged model has values that are not finite")
        assert "set dtype=float32" in text


def test_a_tuned_model_with_the_weights_of_the_base_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "base", tmp_path / "same")
    text = fault(folder, tmp_path / "out", model=str(tmp_path / "same"))
    assert f"model {tmp_path}/same has the same weights as base {folder}/base" in text


def test_a_missing_part_of_the_weights_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tuned", tmp_path / "tuned")
    (tmp_path / "tuned" / "model.safetensors").rename(
        tmp_path / "tuned" / "model-00001-of-00002.safetensors"
    )
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"weight_map": names}
    (tmp_path / "tuned" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"model-00002-of-00002\.safetensors is missing"):
        preflight(base=str(folder / "base"), model=str(tmp_path / "tuned"))


def test_what_was_drawn_at_random_follows_from_the_seed(folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"method": "dare_ties", "density": 0.5}
    files = [
        merge(folder, tmp_path / name, seed=seed, **settings) / "model.safetensors"
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    ]
    one, again, other = (file.read_bytes() for file in files)
    assert one == again
    assert one != other


def test_della_takes_the_convolutions_of_lfm2(folder: Path, tmp_path: Path) -> None:
    model = merge(folder, tmp_path, method="della", density=0.5)
    base = dict(iter_tensors(folder / "base"))
    changed = {name for name, tensor in iter_tensors(model) if not tensor.equal(base[name])}
    assert "model.layers.0.conv.conv.weight" in changed


@pytest.mark.slow
def test_a_merged_model_is_asked_and_its_perplexity_is_compared_with_its_parents(
    folder: Path, tmp_path: Path
) -> None:
    with CorpusWriter(tmp_path / "rows" / "part-00000.parquet", "pairs") as corpus:
        for number, text in enumerate(SENTENCES.values()):
            corpus.add({"id": str(number), "source": "x", "target": text, "origin": "lessons"})
    tuned_copy(folder / "base", tmp_path / "near", seed=5)
    (tmp_path / "base").mkdir()
    card = "---\nlicense: apache-2.0\nlanguage: [ar]\nbase_model: owner/base\n---\nA model.\n"
    shutil.copytree(folder / "base", tmp_path / "base", dirs_exist_ok=True)
    (tmp_path / "base" / "README.md").write_text(card)
    settings: dict[str, Any] = {
        "base": str(tmp_path / "base"),
        "model": str(tmp_path / "near"),
        "held_out": str(tmp_path / "rows"),
        "held_out_rows": 5,
    }
    out = run_plain("merge", settings, tmp_path / "out")
    assert out.facts is not None
    details = out.facts.details
    trial = details["trial"]
    assert trial["loaded_in"] == ("transformers",) or trial["loaded_in"] == ["transformers"]
    values = {one["model"]: one["perplexity"] for one in trial["perplexities"]}
    assert list(values) == ["merged", settings["base"], settings["model"]]
    assert all(1 < value < 1e5 for value in values.values())
    assert {one["rows"] for one in trial["perplexities"]} == {5}
    changes = {change["kind"]: change for change in details["changes"]}
    assert list(changes) == ["attention", "feed_forward", "conv", "norm", "embedding", "all"]
    # Noise of a twentieth of the weights, at right angles to them.
    assert changes["feed_forward"]["relative_change"][0] == pytest.approx(0.25, rel=0.9)
    assert changes["all"]["tensors"] == details["tensors"]
    summary_line = import_module("hala_hpc.stages.merge").STAGE.summary_line(details)
    assert summary_line.startswith("slerp with t = 0.5, 151,808 weights; attention ")
    assert "perplexity on 5 held-out rows: merged " in summary_line
    text = (out.folder(0) / "README.md").read_text()
    for part in (
        "license: apache-2.0",
        "base_model_relation: merge",
        "by the method `slerp`",
        "| t | 0.5 |",
    ):
        assert part in text


@pytest.mark.slow
@pytest.mark.long
def test_a_merged_model_is_loaded_in_both_libraries_and_answers_alike(
    folder: Path, tmp_path: Path
) -> None:
    made = merge(folder, tmp_path, try_with=["transformers", "vllm"])
    trial = json.loads((made / "merge.json").read_text())["trial"]
    assert trial["loaded_in"] == ["transformers", "vllm"]
    other = merge(folder, tmp_path / "vllm", try_with=["vllm"])
    alone = json.loads((other / "merge.json").read_text())["trial"]
    assert alone["loaded_in"] == ["vllm"]
    assert alone["answer"].strip() == trial["answer"].strip()


RECIPE = """
[tuned]
stage = "sft"
model = "owner/base"
tokens = "owner/tokens"
snapshots = [0.5]
[merge]
base = "owner/base"
model = ["@tuned/snapshot-0.5", "@tuned"]
method = "linear"
weights = [0.4, 0.6]
t = 0.7
"""


def test_a_recipe_merges_snapshots_and_an_override_gives_kinds_a_gradient(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE.replace("owner/tokens", str(tmp_path / "tokens")))
    arguments = ("stage=merge", f"recipe={recipe}", "launcher=local", f"work={tmp_path}/work")
    wrong = launch(*arguments, "merge.model=@tuned/snapshot-0.7", "dry_run=true")
    assert "tuned makes one model; write @tuned or @tuned/snapshot-0.5" in wrong.err
    wrong = launch(*arguments, "merge.t.attention=0,2", "dry_run=true")
    assert "t.attention=2: it must be from 0 (the base) to 1 (the tuned model)" in wrong.err
    # A list that stands alone is a sweep.
    wrong = launch(*arguments, "merge.t=0.5,3", "dry_run=true")
    assert "merge-t3: t=3: it must be from 0" in wrong.err
    assert "merge-t0.5" not in wrong.err


def test_a_number_for_all_layers_is_recorded_as_it_was_written() -> None:
    kind: type[Stage[Any]] = import_module("hala_hpc.stages.merge").STAGE
    models: dict[str, Any] = {"base": "a", "model": "b"}

    def recorded(t: Any) -> Any:
        saved = kind.Settings(**models | {"t": t}).result_half()
        assert kind.Settings(**saved).result_half() == saved
        return saved["t"]

    assert recorded(0.3) == 0.3
    assert recorded([0, 1]) == [0, 1]
    assert recorded({"rest": 0.3}) == 0.3
    assert recorded({"rest": 0.3, "attention": 0.5})["attention"] == 0.5
    changes = changed_settings({**models, "t": 0.5}, {**models, "t": recorded(0.3)})
    assert changes == ["t: 0.5 -> 0.3"]


def test_slerp_of_a_large_tensor_is_that_of_mergekits_sums(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = dict(iter_tensors(merge(folder, tmp_path / "sums", t=0.4, dtype="bfloat16")))
    # Every tensor counts as large: the angle comes from the moments.
    monkeypatch.setattr(arithmetic, "MERGEKIT_CHUNK_NUMBERS", 0)
    fast = dict(iter_tensors(merge(folder, tmp_path / "moments", t=0.4, dtype="bfloat16")))
    assert fast.keys() == exact.keys()
    differing = sum(int((fast[name] != exact[name]).sum()) for name in exact)
    assert differing <= 1e-4 * sum(tensor.numel() for tensor in exact.values())
    for name, tensor in exact.items():
        assert (fast[name] - tensor).abs().max() <= tensor.abs().max() * 2**-7, name

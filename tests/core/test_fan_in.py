"""`@node-*`: a sweep as the input of one node."""

from pathlib import Path

import pytest
from command_line import recipe

from hala_hpc.commands.command_line import parse_command_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.errors import UserError
from hala_hpc.core.node import Node

SWEEP = """
[tuned]
stage = "merge"
base = "lab/base"
model = "lab/tuned"
[merge]
base = "lab/base"
model = "@tuned"
t = {t}
[evaluate]
tasks = ["arabicmmlu"]
models = {models}
[report]
nodes = ["@merge-*", "@evaluate"]
"""
TABLE = '{ base = "lab/base", merged = "@merge-*" }'


def nodes(folder: Path, t: str = "[0, 0.5, 1]", models: str = TABLE, *more: str) -> dict[str, Node]:
    text = SWEEP.format(t=t, models=models)
    given = [recipe(folder, text), "stage=all", "launcher=local", f"work={folder / 'work'}", *more]
    return parse_command_line(given).nodes


def test_one_node_takes_all_of_a_sweep(tmp_path: Path) -> None:
    found = nodes(tmp_path)
    assert list(found) == ["tuned", "merge-t0", "merge-t0.5", "merge-t1", "evaluate", "report"]
    assert found["evaluate"].settings.model_dump()["models"] == {
        "base": "lab/base",
        "merged-t0": "@merge-t0",
        "merged-t0.5": "@merge-t0.5",
        "merged-t1": "@merge-t1",
    }
    assert found["report"].input_nodes() == ["merge-t0", "merge-t0.5", "merge-t1", "evaluate"]


def test_a_node_that_names_one_model_is_still_copied_for_each_value(tmp_path: Path) -> None:
    found = nodes(tmp_path, "[0, 1]", '{ merged = "@merge" }')
    assert [name for name in found if name.startswith("evaluate")] == ["evaluate-t0", "evaluate-t1"]


def test_a_sweep_alone_has_the_names_of_its_nodes_as_labels(tmp_path: Path) -> None:
    for given in ('"@merge-*"', '{ merged = "lab/other" }'):
        found = nodes(tmp_path, "[0, 1]", given, "evaluate.models=@merge-*")
        models = found["evaluate"].settings.model_dump()["models"]
        assert models == {"merge-t0": "@merge-t0", "merge-t1": "@merge-t1"}


def test_without_a_sweep_it_is_the_node_itself_with_the_same_fingerprint(tmp_path: Path) -> None:
    plain = nodes(tmp_path, "0.5", '{ base = "lab/base", merged = "@merge" }')
    gathered = nodes(tmp_path, "0.5")
    prints = [
        make_plan(one, tmp_path / "work", None)["evaluate"].fingerprint for one in (plain, gathered)
    ]
    assert prints[0] == prints[1]


def test_another_value_makes_the_node_that_gathers_new_and_no_other(tmp_path: Path) -> None:
    few, more = (
        make_plan(nodes(tmp_path, t), tmp_path / "work", None) for t in ("[0, 1]", "[0, 0.5, 1]")
    )
    assert few["merge-t0"].fingerprint == more["merge-t0"].fingerprint
    assert few["evaluate"].fingerprint != more["evaluate"].fingerprint
    assert (few["evaluate"].units, more["evaluate"].units) == (3, 4)


def test_a_sweep_behind_a_sweep_is_gathered_whole(tmp_path: Path) -> None:
    found = nodes(tmp_path, "[0, 1]", TABLE, "tuned.t=0.1,0.2")
    models = found["evaluate"].settings.model_dump()["models"]
    assert [label for label in models if label != "base"] == [
        "merged-t0.1-t0",
        "merged-t0.1-t1",
        "merged-t0.2-t0",
        "merged-t0.2-t1",
    ]


def test_a_rehearsal_gathers_the_rehearsed_nodes(tmp_path: Path) -> None:
    found = nodes(tmp_path, "[0, 1]", TABLE, "rehearse=true")
    (name,) = [name for name in found if name.endswith("evaluate")]
    assert name == "rehearse-evaluate"


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        ('{ merged = "@mrge-*" }', "there is no node 'mrge'; did you mean 'merge'?"),
        ('{ a = "@merge-*", "a-t0" = "lab/x" }', "two models would have the label a-t0"),
        ('{ a = "@report-*" }', "report makes page, but models takes model"),
    ],
)
def test_a_wrong_pattern_is_one_error(tmp_path: Path, models: str, fault: str) -> None:
    with pytest.raises(UserError) as caught:
        nodes(tmp_path, "[0, 1]", models)
    assert fault in str(caught.value)


def test_a_setting_that_takes_one_node_refuses_a_sweep(tmp_path: Path) -> None:
    text = SWEEP.format(t="[0, 1]", models=TABLE).replace(
        'base = "lab/base"\nmodel = "@t', 'base = "@tuned-*"\nmodel = "@t'
    )
    with pytest.raises(UserError, match="takes one node"):
        parse_command_line([recipe(tmp_path, text), "stage=all", f"work={tmp_path}"])

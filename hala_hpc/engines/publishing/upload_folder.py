"""Write a folder that is ready for upload, and check it."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import claim_folder
from hala_hpc.core.run import Run, RunNode
from hala_hpc.engines.models.card_data import CARD_FILE
from hala_hpc.engines.publishing.cards import CardRequest, make_data_card, make_model_card
from hala_hpc.engines.publishing.eval_results import write_eval_results
from hala_hpc.engines.publishing.every_eval import write_evaluation
from hala_hpc.engines.publishing.licenses import DerivedLicense, derive_license
from hala_hpc.engines.publishing.lineage import iter_evaluations, trace_lineage
from hala_hpc.engines.reporting.node_facts import read_node_facts
from hala_hpc.engines.reporting.score_rows import read_score_table

#: Stages whose results others can use.
MODEL_STAGES = ("sft", "merge", "quantize")
CORPUS_STAGES = ("prepare", "filter", "translate")
EVALUATION_STAGE = "evaluate"
#: Files and folders of a model's result that are about its training.
NOT_OF_THE_MODEL = ("metrics", CARD_FILE)
#: Suffixes of large files, which nobody edits.
LINKED_FILES = (".safetensors", ".parquet")
#: Files that are read for paths of this machine.
TEXT_FILES = (".json", ".jsonl", ".yaml", ".md", ".jinja", ".txt")
#: Where no site measures energy.
NO_ENERGY: Mapping[str, float] = MappingProxyType({})
LANGUAGES = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class PublishedFolder:
    """A folder that is ready for upload."""

    path: Path
    repository: str
    """model or dataset."""
    license: DerivedLicense
    size_bytes: int


def write_published_folder(
    run: Run,
    node: RunNode,
    name: str,
    environment: Mapping[str, str],
    energy_kwh: Mapping[str, float] = NO_ENERGY,
) -> PublishedFolder:
    """Write `<work>/publish/<node>-<fingerprint>` again, and check it.

    `name`: that on the hub, or of the node; `environment`: with the hub cache of the jobs;
    `energy_kwh`: of nodes by their folder, as far as it was measured.

    Raises: UserError (BAD_DATA) if the result is not complete, or names paths of this machine.
    """
    artifact = node.artifact
    require_complete(artifact, node)
    is_model = node.stage in MODEL_STAGES
    lineage = trace_lineage(artifact, environment)
    license_ = derive_license(lineage.outer_inputs)
    others = [one.artifact for one in run.nodes]
    evaluations = list(iter_evaluations(lineage, others))
    tables = [table for facts, _ in evaluations if (table := read_score_table(facts))]
    languages = find_languages(lineage.result.settings)
    request = CardRequest(name, lineage, license_, tables, languages, energy_kwh)
    card = make_model_card(request) if is_model else make_data_card(request)
    target = run.work / "publish" / artifact.folder.name
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    fill_folder(artifact, temporary, is_model)
    (temporary / CARD_FILE).write_text(str(card), encoding="utf-8")
    if is_model:
        write_eval_results(temporary, evaluations)
    check_folder(temporary, is_model, run.work)
    replace_folder(temporary, target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return PublishedFolder(target, "model" if is_model else "dataset", license_, size)


def write_published_evaluation(run: Run, node: RunNode) -> Path:
    """Write the scores and items of an evaluation as Every Eval Ever takes them; their folder.

    Raises: UserError (BAD_DATA) if the result is not complete, or names paths of this machine.
    """
    artifact = node.artifact
    require_complete(artifact, node)
    summary = artifact.summary()
    assert summary is not None
    target = run.work / "publish" / artifact.folder.name
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    write_evaluation(temporary, read_node_facts(artifact.output, summary))
    require_no_path(temporary, run.work)
    replace_folder(temporary, target)
    return target


def require_complete(artifact: Artifact, node: RunNode) -> None:
    """Raise UserError if the node has no complete result, or none that others can use."""
    if node.stage not in (*MODEL_STAGES, *CORPUS_STAGES, EVALUATION_STAGE):
        raise UserError(
            f"node={node.name}: a {node.stage} makes nothing to publish; name a node of "
            f"{', '.join((*MODEL_STAGES, *CORPUS_STAGES, EVALUATION_STAGE))}"
        )
    summary = artifact.summary()
    if summary is None:
        raise UserError(
            f"node={node.name}: not complete yet; run the launch command again", BAD_DATA
        )
    if faults := artifact.output_faults(summary):
        raise UserError([f"node={node.name}: {fault.text}" for fault in faults], BAD_DATA)


def fill_folder(artifact: Artifact, folder: Path, is_model: bool) -> None:
    """Put the files of a result into a folder: large ones as links, so that they take no room.

    Others are copies, as people edit them.
    """
    from hala_hpc.engines.models.files import link_or_copy

    for path in sorted(artifact.output.rglob("*")):
        name = path.relative_to(artifact.output)
        is_part = len(name.parts) == 1 and name.match("part-*.parquet")
        is_wanted = name.parts[0] not in NOT_OF_THE_MODEL if is_model else is_part
        if not path.is_file() or not is_wanted:
            continue
        target = folder / name if is_model else folder / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in LINKED_FILES:
            link_or_copy(path, target)
        else:
            shutil.copy2(path, target)


def check_folder(folder: Path, is_model: bool, work: Path) -> None:
    """Check that the card is valid, that a model is whole, and that no file names this machine.

    Raises: UserError (BAD_DATA) if not.
    """
    from huggingface_hub import DatasetCard, ModelCard

    from hala_hpc.engines.models.files import require_model

    card: Any = (ModelCard if is_model else DatasetCard).load(folder / CARD_FILE)
    if not card.data.license:
        raise UserError(f"{CARD_FILE}: license is missing", BAD_DATA)
    if is_model:
        require_model(str(folder), "node")
    elif not list(folder.glob("data/*.parquet")):
        raise UserError("the corpus has no shards", BAD_DATA)
    require_no_path(folder, work)


def require_no_path(folder: Path, work: Path) -> None:
    """Raise UserError (BAD_DATA) if a file names a path of this machine."""
    named = [
        f"{path.relative_to(folder)} names {work}: a path of this machine, that others cannot use; "
        "make the result from a recipe without absolute paths"
        for path in sorted(folder.rglob("*"))
        if path.suffix in TEXT_FILES and str(work) in path.read_text("utf-8", errors="replace")
    ]
    if named:
        raise UserError(named, BAD_DATA)


def replace_folder(temporary: Path, target: Path) -> None:
    """Give a finished folder its name, in the place of an older one."""
    if target.exists():
        old = target.with_name(f".{target.name}.{uuid4().hex[:8]}.old")
        target.rename(old)
        shutil.rmtree(old)
    claim_folder(temporary, target)


def find_languages(settings: Mapping[str, Any]) -> list[str]:
    """Languages that the settings of a result name, as ISO 639 codes; empty if unknown."""
    found = [settings.get(name) for name in ("source", "target", "target_language", "language")]
    known = [value for value in found if isinstance(value, str) and LANGUAGES.fullmatch(value)]
    return list(dict.fromkeys(known))

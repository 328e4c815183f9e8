"""Make the page about a run, section after section, from what is known about its nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hala_hpc.core.records import RunRecord
from hala_hpc.core.run import format_launch_command, run_file
from hala_hpc.engines.evaluation.report import Table
from hala_hpc.engines.reporting.funnel import (
    draw_funnel,
    draw_judge_scores,
    make_funnel_table,
    make_reasons_table,
)
from hala_hpc.engines.reporting.headline import (
    SCORE_NOTE,
    Published,
    describe_run,
    make_all_scores_table,
    make_headline_table,
)
from hala_hpc.engines.reporting.hours import HourPrice, draw_gpu_hours, make_hours_table
from hala_hpc.engines.reporting.limits import (
    list_limits,
    list_warnings,
    make_models_table,
    make_provenance_table,
    make_signature_table,
)
from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Block, Lines, PageTable, RunPage, Section
from hala_hpc.engines.reporting.ratings_section import ratings_section, read_rating_results
from hala_hpc.engines.reporting.reader_texts import explain_stages
from hala_hpc.engines.reporting.run_picture import draw_pipeline
from hala_hpc.engines.reporting.safe_text import file_stem
from hala_hpc.engines.reporting.score_rows import ScoreTable, read_score_table
from hala_hpc.engines.reporting.sweep_curves import draw_sweep, draw_tradeoff, find_sweeps
from hala_hpc.engines.reporting.training_curves import draw_training
from hala_hpc.engines.reporting.translation_examples import make_examples


@dataclass(frozen=True)
class PageRequest:
    """What a page is about."""

    title: str
    nodes: Sequence[NodeFacts]
    """In the order of the page, inputs first."""
    command: str = ""
    """The line that makes the run again; empty if unknown."""
    published: Published = field(default_factory=dict)
    """Figures that others have published: score by label and name."""
    price: HourPrice | None = None
    item_tables: Mapping[str, Sequence[Table]] = field(default_factory=dict)
    """Further tables about the scores of an evaluation, by its node, e.g. of differences."""
    work: Path | None = None
    """Work folder with the ratings of people; None for a page without them."""


def make_run_page(request: PageRequest) -> RunPage:
    """Make the page; sections without content are left out."""
    nodes = request.nodes
    tables = [table for node in nodes if (table := read_score_table(node))]
    sections = [
        result_section(tables, request.published, request.item_tables),
        pipeline_section(nodes),
        rows_section(nodes),
        translations_section(nodes),
        people_section(request.work),
        training_section(nodes),
        judge_section(nodes),
        sweeps_section(nodes),
        time_section(nodes, request.price),
        limits_section(nodes, tables),
        versions_section(nodes),
        again_section(request.command),
    ]
    return RunPage(
        request.title,
        describe_run(nodes, tables),
        list_missing(nodes),
        [section for section in sections if section.blocks],
    )


def list_missing(nodes: Sequence[NodeFacts]) -> list[str]:
    """The steps without a result, with their state."""
    return [f"{node.name} ({node.stage}): {node.state}" for node in nodes if not node.is_done]


def read_item_tables(nodes: Sequence[NodeFacts]) -> dict[str, list[Table]]:
    """Tables by node from the items and translations of the evaluations.

    Raises: UserError (BAD_DATA) if a file of items is damaged.
    """
    from hala_hpc.engines.evaluation.item_tables import EvaluationItems, item_tables
    from hala_hpc.engines.evaluation.perturbations.change_table import change_table
    from hala_hpc.engines.evaluation.translation_table import translation_tables

    tables: dict[str, list[Table]] = {}
    for node in nodes:
        if node.stage != "evaluate" or not node.is_done:
            continue
        if node.output is None or not node.output.is_dir():
            continue
        tables[node.name] = translation_tables(node.name, node.output)
        if (evaluation := EvaluationItems.read(node.name, node.output)) is not None:
            tables[node.name] += [*item_tables(evaluation), change_table(evaluation)]
    return tables


def find_launch_command(work: Path) -> str:
    """The command that makes the run of a work folder again; empty if it is unknown."""
    run = RunRecord.read_if_valid(run_file(work))
    return format_launch_command(run.overrides) if run else ""


def result_section(
    tables: Sequence[ScoreTable], published: Published, more: Mapping[str, Sequence[Table]]
) -> Section:
    """Scores of all evaluations, the last one first: it has the product."""
    blocks: list[Block] = []
    for number, table in enumerate(reversed(tables)):
        blocks.append(make_headline_table(table, published, "" if number else SCORE_NOTE))
        if (parts := make_all_scores_table(table)) is not None:
            blocks.append(parts)
        stem = file_stem(table.node)
        extra = [one for one in more.get(table.node, ()) if one.rows]
        blocks += [PageTable(f"items-{stem}-{n}", one) for n, one in enumerate(extra, 1)]
    lead = "Each column is a model, each row a benchmark or a measure of translation."
    return Section("scores", "Scores", blocks, lead)


def pipeline_section(nodes: Sequence[NodeFacts]) -> Section:
    """The picture of the run."""
    lead = "A run is made of steps: each reads the results of others and makes one of its own."
    blocks: list[Block] = [draw_pipeline(nodes)] if nodes else []
    if lines := explain_stages(nodes):
        blocks.append(Lines(lines))
    return Section("pipeline", "The pipeline", blocks, lead)


def rows_section(nodes: Sequence[NodeFacts]) -> Section:
    """What became of the data."""
    drawing = draw_funnel(nodes)
    tables = [make_funnel_table(nodes), make_reasons_table(nodes)]
    lead = "Every row that a step reads is accepted, or rejected with a reason."
    blocks: list[Block] = [*([drawing] if drawing else []), *with_rows(tables)]
    return Section("rows", "What became of the data", blocks, lead)


def translations_section(nodes: Sequence[NodeFacts]) -> Section:
    """Texts to read: held-out sentences with all translations first."""
    scored = [block for node in nodes if node.stage == "evaluate" for block in make_examples(node)]
    rows = [block for node in nodes if node.stage != "evaluate" for block in make_examples(node)]
    lead = "Read some of it: scores alone do not show what a model does."
    return Section("texts", "Translations", [*scored, *rows], lead)


def people_section(work: Path | None) -> Section:
    """What people think of it."""
    return ratings_section(*read_rating_results(work)) if work else ratings_section([])


def training_section(nodes: Sequence[NodeFacts]) -> Section:
    """Curves of all trainings."""
    drawings = [drawing for node in nodes if (drawing := draw_training(node))]
    lead = (
        "The loss says how badly a model predicts the texts it is trained on; on held-out rows it "
        "must fall as well."
    )
    return Section("training", "Training", drawings, lead)


def judge_section(nodes: Sequence[NodeFacts]) -> Section:
    """Histograms of all judges."""
    drawings = [drawing for node in nodes if (drawing := draw_judge_scores(node))]
    lead = "A language model judged each row; rows with too low a score were rejected."
    return Section("judge", "Scores of the judge", drawings, lead)


def sweeps_section(nodes: Sequence[NodeFacts]) -> Section:
    """Drawings of all sweeps."""
    sweeps = find_sweeps(nodes)
    drawings = [one for sweep in sweeps for one in (draw_sweep(sweep), draw_tradeoff(sweep)) if one]
    lead = "The same step was made with several values of a setting, to see which serves best."
    return Section("sweeps", "Sweeps", drawings, lead)


def time_section(nodes: Sequence[NodeFacts], price: HourPrice | None) -> Section:
    """Hours and cost."""
    drawing = draw_gpu_hours(nodes)
    blocks: list[Block] = [*([drawing] if drawing else [])]
    return Section("time", "Time and cost", [*blocks, *with_rows([make_hours_table(nodes, price)])])


def limits_section(nodes: Sequence[NodeFacts], tables: Sequence[ScoreTable]) -> Section:
    """What the page does not show, and what went wrong."""
    blocks: list[Block] = [Lines(list_limits(tables))] if tables else []
    if warnings := list_warnings(nodes):
        blocks.append(Lines(warnings, is_warning=True))
    return Section("limits", "Limits and warnings", blocks)


def versions_section(nodes: Sequence[NodeFacts]) -> Section:
    """What is needed to name a result."""
    tables = [make_models_table(nodes), make_provenance_table(nodes), make_signature_table(nodes)]
    return Section("versions", "Versions and signatures", with_rows(tables))


def again_section(command: str) -> Section:
    """The line that makes it again."""
    lead = "The same line resumes a run, and repeats what was changed or removed."
    blocks = [Lines([command], is_code=True)] if command else []
    return Section("again", "Make it again", blocks, lead)


def with_rows(tables: Sequence[PageTable]) -> list[PageTable]:
    """The tables that are not empty."""
    return [one for one in tables if one.table.rows]

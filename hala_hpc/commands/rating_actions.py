"""Export a sample for raters, and import what they returned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.text_table import text_table
from hala_hpc.core.errors import NO_INPUT, OK, UserError
from hala_hpc.core.paths import expand_path
from hala_hpc.core.printable import format_command
from hala_hpc.core.run import Run
from hala_hpc.engines.rating.rating_records import (
    RETURNED_FOLDER,
    RatingSample,
    list_rating_folders,
    ratings_folder,
    read_returned,
    read_sample,
)
from hala_hpc.engines.reporting.safe_text import file_stem


@dataclass(frozen=True)
class ExportRequest:
    """The arguments of an export."""

    nodes: Sequence[str]
    systems: Sequence[str]
    name: str
    data: str
    language: str
    items: int
    attention: int
    raters: int
    seed: int


def export_ratings(run: Run, request: ExportRequest) -> int:
    """Choose a sample and write its forms. Raises: UserError."""
    from hala_hpc.engines.rating.choose_sample import SampleRequest, choose_sample
    from hala_hpc.engines.rating.form_texts import require_form_language
    from hala_hpc.engines.rating.rated_texts import (
        read_answer_file,
        read_rated_nodes,
        select_systems,
    )
    from hala_hpc.engines.rating.write_forms import write_sample

    if bool(request.nodes) == bool(request.data):
        raise UserError("write either node= or data=, for the outputs to rate")
    language = require_form_language(request.language)
    stem = request.name or "-".join(request.nodes) or expand_path("data", request.data).stem
    folder = ratings_folder(run.work, file_stem(stem))
    if request.data:
        texts = read_answer_file(expand_path("data", request.data))
    else:
        texts = read_rated_nodes([run.find_node(name) for name in request.nodes])
    selected = select_systems(texts, request.systems)
    chosen = SampleRequest(folder.name, request.seed, request.items, request.attention, language)
    sample = choose_sample(selected, chosen)
    require_same_sample(folder, sample)
    forms = write_sample(sample, folder, request.raters)
    attention = sum(item.is_attention for item in sample.items)
    print(f"{len(sample.items) - attention} items of {len(texts):,} texts, outputs of ", end="")
    print(f"{', '.join(sample.systems)}; {attention} attention items more")
    if sample.left_out:
        print(f"left out: {sample.left_out:,} texts that are too long to rate")
    print("\n".join(f"form: {path}" for path in forms))
    print(f"key, not for raters: {folder / 'sample.json'}")
    arguments = (f"work={run.work}", f"name={folder.name}", "data=FILE,FILE")
    print(f"then: {format_command('ratings', 'import', *arguments)}", flush=True)
    return OK


def require_same_sample(folder: Path, sample: RatingSample) -> None:
    """Raise UserError if another sample of this name has ratings, which would be lost."""
    existing = read_sample(folder)
    if existing is None or existing.id == sample.id or not read_returned(folder):
        return
    raise UserError(
        f"name={folder.name}: {folder / RETURNED_FOLDER} has ratings of another sample; choose "
        "another name="
    )


def take_ratings(run: Run, name: str, paths: Sequence[str]) -> int:
    """Import files, and print agreement and win rates. Raises: UserError."""
    from hala_hpc.engines.rating.agreement import compute_rating_results
    from hala_hpc.engines.rating.import_ratings import import_ratings
    from hala_hpc.engines.reporting.ratings_section import make_rating_tables

    folder = find_rating(run.work, name)
    sample = read_sample(folder)
    if sample is None:
        raise UserError(f"name={name}: {folder} has no sample; export one first", NO_INPUT)
    if not paths:
        raise UserError("data= is missing: name the files that raters returned, with commas")
    imported = import_ratings(folder, sample, [expand_path("data", path) for path in paths])
    for one in imported.raters:
        before = f", in the place of {one.replaced} earlier ones" if one.replaced else ""
        print(f"{one.rater}: {one.items} items with a score{before} ({one.path})")
    print(f"without a score: {imported.empty}")
    results = compute_rating_results(sample, read_returned(folder))
    for block in make_rating_tables(results):
        print(f"\n{block.table.title}")
        print(text_table(block.table.rows, block.table.columns))
        if block.table.note:
            print(block.table.note)
    line = format_command("status", f"work={run.work}", "format=html")
    print(f"\nthe page of the run has it as well: {line}", flush=True)
    return OK


def find_rating(work: Path, name: str) -> Path:
    """Folder of the rating of a name, or of the only one. Raises: UserError."""
    if name:
        return ratings_folder(work, file_stem(name))
    found = list_rating_folders(work)
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise UserError(f"name= is missing: {work} has the ratings {names}", NO_INPUT)
    return found[0]

"""The page of a rehearsal, as HTML and Markdown: verdict, hours, advice, every node, samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.command_line import Line, read_line
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.rehearsing.advice import Advice, advice_of
from hala_hpc.commands.rehearsing.measured import State
from hala_hpc.commands.rehearsing.projection import Projection, longest_path_s, project
from hala_hpc.core.errors import BAD_DATA, OK, RETRY
from hala_hpc.core.estimate import shown
from hala_hpc.core.files import write_text
from hala_hpc.core.recipe import with_inputs
from hala_hpc.core.run import launch_line

TEMPLATES = Path(__file__).parent
HTML, MARKDOWN = "rehearsal.html", "rehearsal.md"
DASH = "–"


@dataclass(frozen=True)
class Page:
    """Everything that the page tells."""

    recipe: str
    line: str
    """The line of the full run."""
    full: Mapping[str, Projection]
    advice: Sequence[Advice]

    @property
    def missing(self) -> list[str]:
        """Nodes that were not reached, by their names."""
        states = {name: one.seen.state for name, one in self.full.items()}
        return [name for name, state in states.items() if state is State.NOT_REACHED]

    @property
    def must(self) -> list[Advice]:
        """What has to be changed before the full run."""
        return [one for one in self.advice if one.must]

    @property
    def code(self) -> int:
        """Exit code of the command."""
        if self.must:
            return BAD_DATA
        return RETRY if self.missing else OK

    @property
    def head(self) -> list[str]:
        """Three lines: whether the full run can be started, what it takes, what comes first."""
        return [self.verdict, self.hours, self.first]

    @property
    def verdict(self) -> str:
        """Whether the full run can be started."""
        works = sum(one.seen.state is State.WORKS for one in self.full.values())
        told = f"{works} of {len(self.full)} nodes work"
        if self.must:
            return f"{told}: do not start the full run yet."
        if self.missing:
            return f"{told}, {len(self.missing)} are not reached yet."
        return f"{told}: the full run can be started."

    @property
    def hours(self) -> str:
        """What the full run will take."""
        known = [one for one in self.full.values() if one.job_s is not None]
        unknown = len(self.full) - len(known)
        gpu = sum(one.gpu_hours or 0.0 for one in known)
        jobs = sum(one.job_s or 0.0 for one in known) / 3600
        parts = [f"about {shown(gpu)} GPU hours", f"{shown(jobs)} hours of all its jobs"]
        if (path_s := longest_path_s(self.full)) is not None:
            parts.append(f"{shown(path_s / 3600)} hours from its start to its end without queues")
        least = f" (without {unknown} nodes of which nothing is known yet)" if unknown else ""
        shipped = [one.shipped_gpu_hours for one in self.full.values() if one.shipped_gpu_hours]
        table = f"; by the shipped table {shown(sum(shipped))} GPU hours" if shipped else ""
        return f"The full run takes {', '.join(parts)}{least}{table}."

    @property
    def first(self) -> str:
        """What must be changed first."""
        if not self.must:
            return "Nothing must be changed first."
        return "First: " + "; ".join(f"{one.node}: {one.text}" for one in self.must) + "."


def write_page(line: Line) -> int:
    """Write both files into the work folder, print the head; the exit code that it means."""
    page = make_page(line)
    write_text(line.work / HTML, html(page))
    write_text(line.work / MARKDOWN, markdown(page))
    print("\n".join([*page.head, f"the page: {line.work / HTML}"]))
    return page.code


def make_page(line: Line) -> Page:
    """Look at a rehearsal and project it. `line` has rehearse=true."""
    given = {key: value for key, value in line.words.items() if key != "rehearse"}
    whole = read_line([f"{key}={value}" for key, value in given.items()])
    projected = project(whole, steps_of(whole), steps_of(line))
    return Page(Path(line.recipe).stem, launch_line(given), projected, advice_of(projected))


def steps_of(line: Line) -> dict[str, Step]:
    """The nodes that a line means, with all they need."""
    steps = make_plan(line.nodes, line.work, line.environment)
    return {name: steps[name] for name in with_inputs(line.nodes, line.chosen)}


def html(page: Page) -> str:
    """The page as one file that needs no other; text of data is escaped and isolated."""
    return filled("rehearsal.html.j2", page)


def markdown(page: Page) -> str:
    """The page as Markdown."""
    return filled("rehearsal.md.j2", page)


def filled(name: str, page: Page) -> str:
    """A template of this folder, filled in; what becomes HTML is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["cell"] = cell
    return environment.get_template(name).render(page=page)


def number(value: float | None, digits: int = 0) -> str:
    """A number with separators; a dash for none."""
    return DASH if value is None else f"{value:,.{digits}f}"


def cell(text: str) -> str:
    """A text as a cell of a Markdown table: on one line, without what ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")

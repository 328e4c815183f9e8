"""Write the page of a rehearsal as HTML and Markdown: verdict, hours, advice, nodes, samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.commands.command_line import CommandLine, parse_command_line
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.commands.rehearsing.advice import Advice, collect_advice
from hala_hpc.commands.rehearsing.measurements import RehearsalState
from hala_hpc.commands.rehearsing.projection import Projection, longest_path_s, project_full_run
from hala_hpc.core.errors import BAD_DATA, OK, RETRY
from hala_hpc.core.estimate import format_hours
from hala_hpc.core.files import write_text
from hala_hpc.core.run import format_launch_command

TEMPLATES = Path(__file__).parent
HTML, MARKDOWN = "rehearsal.html", "rehearsal.md"
DASH = "–"


@dataclass(frozen=True)
class RehearsalPage:
    """Contents of the page."""

    recipe: str
    command: str
    """Command of the full run."""
    full: Mapping[str, Projection]
    advice: Sequence[Advice]

    @property
    def missing(self) -> list[str]:
        """Names of the nodes that were not started."""
        states = {name: one.measured.state for name, one in self.full.items()}
        return [name for name, state in states.items() if state is RehearsalState.NOT_STARTED]

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
        """Three lines: whether the full run can start, what it takes, what must change first."""
        return [self.verdict, self.hours, self.first]

    @property
    def verdict(self) -> str:
        """Whether the full run can be started."""
        works = sum(one.measured.state is RehearsalState.WORKS for one in self.full.values())
        message = f"{works} of {len(self.full)} nodes succeeded"
        if self.must:
            return f"{message}: do not start the full run yet."
        if self.missing:
            return f"{message}, {len(self.missing)} are not started yet."
        return f"{message}: the full run can be started."

    @property
    def hours(self) -> str:
        """GPU hours and time of the full run."""
        known = [one for one in self.full.values() if one.job_s is not None]
        unknown = len(self.full) - len(known)
        gpu = sum(one.gpu_hours or 0.0 for one in known)
        jobs = sum(one.job_s or 0.0 for one in known) / 3600
        parts = [
            f"about {format_hours(gpu)} GPU hours",
            f"{format_hours(jobs)} hours of all its jobs",
        ]
        if (path_s := longest_path_s(self.full)) is not None:
            parts.append(
                f"{format_hours(path_s / 3600)} hours from its start to its end without queues"
            )
        uncounted = f" (without {unknown} nodes with unknown hours)" if unknown else ""
        shipped = [one.shipped_gpu_hours for one in self.full.values() if one.shipped_gpu_hours]
        table = f"; by the shipped table {format_hours(sum(shipped))} GPU hours" if shipped else ""
        return f"The full run takes {', '.join(parts)}{uncounted}{table}."

    @property
    def first(self) -> str:
        """What must be changed first."""
        if not self.must:
            return "No change is required first."
        return "First: " + "; ".join(f"{one.node}: {one.text}" for one in self.must) + "."


def write_rehearsal_page(command_line: CommandLine) -> int:
    """Write both files into the work folder, print the head; return its exit code."""
    page = make_rehearsal_page(command_line)
    write_text(command_line.work / HTML, render_rehearsal_html(page))
    write_text(command_line.work / MARKDOWN, render_rehearsal_markdown(page))
    print("\n".join([*page.head, f"page: {command_line.work / HTML}"]))
    return page.code


def make_rehearsal_page(command_line: CommandLine) -> RehearsalPage:
    """Measure a rehearsal and project it. `command_line` has rehearse=true."""
    given = {key: value for key, value in command_line.overrides.items() if key != "rehearse"}
    whole = parse_command_line([f"{key}={value}" for key, value in given.items()])
    projected = project_full_run(whole, steps_of(whole), steps_of(command_line))
    return RehearsalPage(
        Path(command_line.recipe).stem,
        format_launch_command(given),
        projected,
        collect_advice(projected),
    )


def steps_of(command_line: CommandLine) -> dict[str, Step]:
    """The nodes that a command line selects, with all their inputs."""
    steps = make_plan(command_line.nodes, command_line.work, command_line.environment)
    return choose_steps(command_line, steps)


def render_rehearsal_html(page: RehearsalPage) -> str:
    """Render the page as one self-contained file; texts of the data are escaped and isolated."""
    return render_template("rehearsal.html.j2", page)


def render_rehearsal_markdown(page: RehearsalPage) -> str:
    """Render the page as Markdown."""
    return render_template("rehearsal.md.j2", page)


def render_template(name: str, page: RehearsalPage) -> str:
    """Render a template of this folder; values in HTML are escaped."""
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
    """Format a number with separators; a dash for None."""
    return DASH if value is None else f"{value:,.{digits}f}"


def cell(text: str) -> str:
    """Format a text as a cell of a Markdown table: on one line, with `|` escaped."""
    return " ".join(text.split()).replace("|", "\\|")

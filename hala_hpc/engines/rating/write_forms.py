"""Write what raters get: a table for spreadsheets, an offline page, a campaign of Pearmut.

None of them names a system. The campaign has the form that Pearmut 1.1 reads (`pearmut add`): a
task for each rater, whose documents have one item each; outputs have the names of their places.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from hala_hpc.core.files import write_json, write_text
from hala_hpc.engines.rating.form_texts import FORM_TEXTS
from hala_hpc.engines.rating.rating_records import (
    FORMS_FOLDER,
    SAMPLE_FILE,
    RatedItem,
    RatingSample,
)
from hala_hpc.engines.reporting.page_files import format_csv
from hala_hpc.engines.reporting.safe_text import show_invisible

CSV_FORM, HTML_FORM, PEARMUT_FORM = "form.csv", "form.html", "pearmut.json"
#: Spreadsheets read UTF-8 only with this character in front.
UTF_8_SIGNATURE = "\ufeff"
#: Protocol of Pearmut with a score from 0 to 100 and nothing else: direct assessment.
PEARMUT_PROTOCOL = "DA"


def write_sample(sample: RatingSample, folder: Path, raters: int) -> list[Path]:
    """Write the forms, and last the sample with its key; the paths of the forms."""
    forms = folder / FORMS_FOLDER
    write_text(forms / CSV_FORM, UTF_8_SIGNATURE + format_csv_form(sample))
    write_text(forms / HTML_FORM, render_form(sample))
    write_json(forms / PEARMUT_FORM, make_campaign(sample, raters))
    sample.write(folder / SAMPLE_FILE)
    return [forms / name for name in (CSV_FORM, HTML_FORM, PEARMUT_FORM)]


def output_column(number: int) -> str:
    """Column of an output, counted from 0; also its name in a campaign."""
    return f"output_{number + 1}"


def score_column(number: int) -> str:
    """Column of the score of an output, counted from 0."""
    return f"score_{number + 1}"


def form_columns(outputs: int) -> list[str]:
    """Columns of the table."""
    pairs = [name for n in range(outputs) for name in (output_column(n), score_column(n))]
    return ["sample", "item", "rater", "source", *pairs, "comment"]


def format_csv_form(sample: RatingSample) -> str:
    """The table with empty scores."""
    rows = [
        [
            # Spreadsheets take `12e456` for a number, and would change it.
            f"#{sample.id}",
            f"#{item.id}",
            "",
            show_invisible(item.source),
            *(cell for text in item.outputs for cell in (show_invisible(text), "")),
            "",
        ]
        for item in sample.items
    ]
    return format_csv(form_columns(len(sample.systems)), rows)


def render_form(sample: RatingSample) -> str:
    """The page: one file that requests nothing, and runs its own script only."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = Path(__file__).parent
    script = (here / "rating_form.js").read_text(encoding="utf-8")
    texts = FORM_TEXTS[sample.language]
    data = {
        "sample": sample.id,
        "texts": texts.to_values(),
        "items": [blind_item(item) for item in sample.items],
    }
    # Within a script element only `<` can end it.
    block = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("rating_form.html.j2").render(
        language=sample.language,
        texts=texts,
        items=len(sample.items),
        data=Markup(block),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_digest=digest_script(script),
    )


def digest_script(script: str) -> str:
    """What a Content-Security-Policy calls a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def blind_item(item: RatedItem) -> dict[str, Any]:
    """An item as raters see it."""
    return {
        "id": item.id,
        "source": show_invisible(item.source),
        "outputs": [show_invisible(text) for text in item.outputs],
    }


def make_campaign(sample: RatingSample, raters: int) -> dict[str, Any]:
    """The campaign of Pearmut, with one task for each rater."""
    documents = [
        [
            {
                "src": show_invisible(item.source),
                "tgt": {
                    output_column(n): show_invisible(text) for n, text in enumerate(item.outputs)
                },
                "item_id": item.id,
            }
        ]
        for item in sample.items
    ]
    return {
        "info": {"assignment": "task-based", "protocol": PEARMUT_PROTOCOL},
        "campaign_id": campaign_name(sample),
        "data": [documents] * raters,
    }


def campaign_name(sample: RatingSample) -> str:
    """Id of the campaign."""
    return f"hala_{sample.id}"

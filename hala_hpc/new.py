"""Write a recipe for a pair of languages: `python -m hala_hpc.new language=sw gpus=8x80`.

The recipe is the pipeline of the recipe hala for another language: prompts, checks, pairs,
benchmarks that exist for it, and sizes that fit the GPUs. Its head says what is missing for the
language, what that costs in certainty, and what to do. An existing file is never changed.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.core.damage import convert_os_error
from hala_hpc.core.errors import OK
from hala_hpc.core.files import write_text_once

ARGUMENTS = {
    "language": "the language to make, as an ISO 639 code, e.g. sw",
    "from": "the language of pairs and instructions (default: en)",
    "base": "hub id or folder of the model that learns it (default: LiquidAI/LFM2-1.2B)",
    "teacher": "hub id or folder of a model that writes pairs; empty for none (the paper's, if it "
    "supports the language)",
    "gpus": "number and GB of the GPUs that may be used at once (default: 8x80)",
    "to": "the file to write (default: <language>.toml)",
}


def write_recipe(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes, in one."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    from hala_hpc.commands.new_recipe.pair_head import all_gaps, recipe_head
    from hala_hpc.commands.new_recipe.pair_recipe import recipe_nodes
    from hala_hpc.commands.new_recipe.pair_request import parse_request
    from hala_hpc.commands.new_recipe.pair_sizes import fit_sizes

    request = parse_request(overrides)
    sizes = fit_sizes(request)
    try:
        write_text_once(request.file, recipe_head(request, sizes) + recipe_nodes(request, sizes))
    except OSError as error:
        raise convert_os_error(error) from None
    print(f"{request.file}: {request.target.name} from {request.source.name}")
    for gap in all_gaps(request, sizes):
        print(f"  missing: {gap.missing}: {gap.cost}")
    print(f"next: hala launch recipe={request.file} stage=all work={request.work} dry_run=true")
    return OK


def main() -> None:
    """Command line of new."""
    sys.exit(run_command(write_recipe, sys.argv[1:]))


if __name__ == "__main__":
    main()

"""Copy the text of a recipe into another folder, where it means the same."""

import json
import re
from pathlib import Path

#: A stage of a recipe that is given as a file.
STAGE_FILE = re.compile(
    r"""(?P<key>\bstage\s*=\s*)(?P<quote>["'])(?P<path>[^"'\n]+\.py)(?P=quote)"""
)
#: A recipe that is extended and given as a file.
EXTENDED_FILE = re.compile(
    r"""(?m)^(?P<key>extends\s*=\s*)(?P<quote>["'])(?P<path>[^"'\n]+\.toml)(?P=quote)"""
)


def make_recipe_paths_absolute(text: str, folder: Path) -> str:
    """Make the paths of stages and of an extended recipe absolute, for use in another folder."""

    def make_absolute(found: re.Match[str]) -> str:
        path = (folder / Path(found["path"]).expanduser()).absolute()
        return found["key"] + json.dumps(str(path), ensure_ascii=False)

    return EXTENDED_FILE.sub(make_absolute, STAGE_FILE.sub(make_absolute, text))

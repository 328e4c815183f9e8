"""Find secrets by name and by form: tokens, keys and passwords, kept off command lines and files.

The scheduler stores what a launcher or a recipe holds, where others may read it; so does the work
folder.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

#: Forms of secrets by kind: phrases in lower case, one of which is in each secret, and the whole
#: pattern. A pattern is compiled only if a text holds such a phrase: that takes a command half a
#: millisecond each. A `$` begins no secret: it names a variable of a shell.
FORMS: dict[str, tuple[tuple[str, ...], str]] = {
    "a URL with a password": (("://",), r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@$]+@"),
    "a token of Hugging Face": (("hf_",), r"\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{10,}"),
    "an API key": (("sk-",), r"\bsk-(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{12,}"),
    "a token of GitHub": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\b(gh[pousr]_[A-Za-z0-9]{12,}|github_pat_[A-Za-z0-9_]{12,})",
    ),
    "a token of GitLab": (("glpat-",), r"\bglpat-[A-Za-z0-9_-]{12,}"),
    "a token of Slack": (("xox",), r"\bxox[abpors]-[A-Za-z0-9-]{10,}"),
    "a bearer token": (
        ("bearer",),
        r"(?i:\bbearer[ \t:=]+['\"]?(?=[A-Za-z._~+/-]*[0-9])[A-Za-z0-9._~+/-]{12,}=*)",
    ),
    "a key of AWS": (
        ("akia", "asia", "abia", "acca"),
        r"\b(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    ),
    "a signed token (JWT)": (("eyj",), r"\beyJ[\w-]{6,}\.eyJ[\w-]{4,}\.[\w-]*"),
    "a private key": (("private key",), r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----"),
}
#: HF_TOKEN is a secret; HF_TOKEN_PATH and TOKENIZERS_PARALLELISM are not.
NAME = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?|(API|ACCESS|PRIVATE)_KEY|JWT)($|_(?!PATH|FILE|DIR))",
    re.IGNORECASE,
)
FIX = (
    "others can read a job's settings, and the work folder keeps them: keep it in a file that only "
    "you can read and name that file, e.g. with HF_TOKEN_PATH, ~/.netrc or a line of `setup` that "
    "reads it"
)


def find_secret_names(environment: Mapping[str, str], setup: Sequence[str]) -> list[str]:
    """A line for each variable of jobs, also in shell lines, whose name is that of a secret."""
    assigned = [*environment, *re.findall(r"([A-Za-z_]\w*)=", "\n".join(setup))]
    return [f"{key} looks like a secret, and {FIX}" for key in assigned if NAME.search(key)]


@lru_cache(maxsize=4096)  # The jobs of a plan have most of their texts in common.
def find_secret(text: str) -> str:
    """The kind of secret in a text, e.g. "a bearer token"; empty for none."""
    small = text.lower()
    for kind, (phrases, form) in FORMS.items():
        if any(phrase in small for phrase in phrases) and re.search(form, text):
            return kind
    return ""


def secret_mistakes(values: Any, place: str = "") -> list[str]:
    """A line for each text of a nested value that holds a secret; only the place is shown.

    `place` is the path of the value, e.g. `environment.HTTPS_PROXY`.
    """
    found = ((where, find_secret(text)) for where, text in texts_in(values, place))
    return [
        f"{where or 'a value'} holds what looks like {kind}, which is not shown here: {FIX}"
        for where, kind in found
        if kind
    ]


def texts_in(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text of a nested value with its path; keys count as texts of their table."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            # A key that is a secret itself is not named.
            yield place, str(key)
            name = "?" if find_secret(str(key)) else str(key)
            yield from texts_in(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from texts_in(inner, f"{place}[{number}]")

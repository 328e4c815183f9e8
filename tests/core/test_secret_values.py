"""Secrets are recognized by name and form wherever they are written, and never shown."""

from pathlib import Path

import pytest
from command_line import CommandResult, launch, one_row_recipe

from hala_hpc.core.secret_values import find_secret, secret_mistakes

HEX = "0123456789abcdef"
#: Put together here, so that no scanner of repositories takes them for real ones.
SECRETS = {
    "URL": "http://user:p4ssw0rd" + "@proxy.example:3128",
    "Hugging Face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "OpenAI": "sk-" + "proj-" + HEX * 2,
    "GitHub": "ghp_" + HEX + "ABCDEFGH",
    "GitHub, fine": "github_pat_" + HEX,
    "bearer": "curl -H 'Authorization: Bearer " + HEX + "'",
    "AWS": "AKIA" + "ABCDEFGHIJKLMNOP",
    "JWT": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "c2lnbmF0dXJl",
    "key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
}
FINE = [
    "https://proxy.example:3128/path@2",
    "http://$USER:$PASSWORD@proxy.example",
    "hf_transfer",
    "hf_hub_download",
    "sk-learn-and-more-words",
    "Authorization: Bearer $(cat ~/.token)",
    "the bearer of this letter",
    "LFM2.5-1.2B-Instruct",
    "s3://bucket/key",
    "user@host:folder/name",
]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_recognized_in_any_place_and_not_shown(secret: str) -> None:
    [mistake] = secret_mistakes({"setup": ["module load cuda", f"export A={secret}"]}, "launcher")
    assert mistake.startswith("launcher.setup[1] holds what looks like ")
    assert secret not in mistake
    assert secret_mistakes({secret: "x"})
    assert secret not in secret_mistakes({secret: secret})[0]


@pytest.mark.parametrize("text", FINE)
def test_what_only_sounds_like_a_secret_is_fine(text: str) -> None:
    assert find_secret(text) == ""


def refused(ended: CommandResult, secret: str, place: str, work: Path) -> None:
    assert ended.code == 78, ended
    assert secret not in ended.out + ended.err
    assert place in ended.err
    assert not work.exists()


@pytest.mark.parametrize("backend", ["local", "slurm"])
@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('[environment]\nHTTPS_PROXY = "{}"', "environment.HTTPS_PROXY"),
        ('setup = ["export HFTOKEN={}"]', "setup[0]"),
        ('[resources]\noptions.comment = "{}"', "resources.options.comment"),
    ],
)
def test_a_launcher_with_a_secret_is_refused(
    tmp_path: Path, work: Path, line: str, place: str, backend: str
) -> None:
    secret = SECRETS["URL"]
    path = tmp_path / "mine.toml"
    path.write_text(f'backend = "{backend}"\n' + line.format(secret) + "\n")
    overrides = [one_row_recipe(tmp_path), f"launcher={path}", f"work={work}"]
    refused(launch("stage=all", *overrides), secret, place, work)
    refused(launch("stage=all", *overrides, "dry_run=true"), secret, place, work)


def test_a_variable_with_the_name_of_a_secret_is_refused_on_this_machine_too(
    tmp_path: Path, work: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('backend = "local"\n[environment]\nOPENAI_API_KEY = "short"\n')
    ended = launch("stage=all", one_row_recipe(tmp_path), f"launcher={path}", f"work={work}")
    refused(ended, "short", "OPENAI_API_KEY", work)


def test_a_secret_in_a_recipe_or_an_override_is_refused(tmp_path: Path, work: Path) -> None:
    secret = SECRETS["Hugging Face"]
    recipe = one_row_recipe(tmp_path)
    ended = launch("stage=all", recipe, f"corpus.data={secret}", f"work={work}")
    refused(ended, secret, "corpus.data", work)
    # Even if the override is unknown, and would be shown for that.
    refused(launch("stage=all", recipe, f"tokne={secret}", f"work={work}"), secret, "tokne", work)
    path = Path(recipe.removeprefix("recipe="))
    path.write_text(path.read_text() + f'text_column = "{secret}"\n')
    refused(launch("stage=all", recipe, f"work={work}"), secret, "corpus.text_column", work)

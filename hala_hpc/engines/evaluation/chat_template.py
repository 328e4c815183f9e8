"""Checks that models have the chat template that benchmark questions are to be put into."""

from collections.abc import Mapping
from pathlib import Path

from hala_hpc.engines.models.files import find_folder, read_object

#: Files of a tokenizer that hold nothing but chat templates.
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer in a model folder has a chat template."""
    settings = read_object(folder / "tokenizer_config.json") or {}
    return bool(settings.get("chat_template")) or any(
        (folder / name).exists() for name in TEMPLATE_FILES
    )


def chat_template_faults(models: Mapping[str, str]) -> list[str]:
    """A line for each model without a chat template; `models`: paths by setting.

    Models that do not exist yet are not checked.
    """
    folders = {setting: find_folder(path) for setting, path in models.items()}
    return [
        f"{setting}={models[setting]}: chat_template=true, but its tokenizer has no chat template; "
        "set chat_template=false, or give a tuned model"
        for setting, folder in folders.items()
        if folder is not None and not has_chat_template(folder)
    ]

"""Upload a published folder to the hub."""

from hala_hpc.core.errors import UNAVAILABLE, UserError
from hala_hpc.engines.publishing.upload_folder import PublishedFolder


def upload_folder(made: PublishedFolder, name: str, is_private: bool) -> str:
    """Make the repository unless it exists, let the hub check the card, and upload; the address.

    Raises: UserError (UNAVAILABLE) if the hub refuses or does not answer.
    """
    import httpx
    from huggingface_hub import DatasetCard, HfApi, ModelCard
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    card = (ModelCard if made.repository == "model" else DatasetCard).load(made.path / "README.md")
    try:
        card.validate(repo_type=made.repository)
        api = HfApi()
        api.create_repo(name, repo_type=made.repository, private=is_private or None, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=made.path,
            repo_type=made.repository,
            commit_message="Upload by hala_hpc",
        )
        return f"{api.endpoint}/{'datasets/' if made.repository == 'dataset' else ''}{name}"
    except (HfHubHTTPError, LocalTokenNotFoundError, httpx.HTTPError, ValueError) as error:
        message = " ".join(str(error).split())
        raise UserError(
            f"upload={name}: the hub refused it or did not answer: {message}; "
            f"run `hf auth login` with a token that may write there, then the same command; the "
            f"folder {made.path} is complete",
            UNAVAILABLE,
        ) from error

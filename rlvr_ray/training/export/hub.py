"""Uploading datasets to the model hub: https://huggingface.co, or the hub in HF_ENDPOINT.

The hub's client finds the token in HF_TOKEN, or in the file of ``hf auth login``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rlvr_ray.core.errors import ConfigError, InputError, Unavailable

_SHOWN_CHARS = 300


def upload(folder: Path, files: Sequence[str], repo: str, *, public: bool) -> str:
    """Commit those of the named files that the folder has, and return the dataset's address.

    The repository is made where there is none; named files that it has and the folder has not are
    removed. One that everybody can read is refused unless it is to be ``public``.
    """
    from huggingface_hub import HfApi, get_token

    with _translated(repo, None):
        token = get_token()
    if token is None:
        raise ConfigError(
            "there is no token for the hub: set HF_TOKEN, or log in with `hf auth login`"
        )
    with _translated(repo, token):
        api = HfApi(token=token)
        made = api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        if not public and not api.dataset_info(made.repo_id).private:
            raise InputError(
                f"{made.repo_id} is there already and everybody can read it: name another one, or "
                "add --public"
            )
        api.upload_folder(
            repo_id=made.repo_id,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Export of rlvr_ray",
            allow_patterns=[*files],
            delete_patterns=[*files],
        )
    return str(made)


@contextmanager
def _translated(repo: str, token: str | None) -> Iterator[None]:
    """Says in one line, and without the token, what went wrong."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    hub = constants.ENDPOINT

    def one_line(text: object) -> str:
        line = " ".join(str(text).split())
        return (line.replace(token, "…") if token else line)[:_SHOWN_CHARS]

    try:
        yield
    except OfflineModeIsEnabled:
        raise ConfigError("HF_HUB_OFFLINE is set: unset it to push") from None
    except HfHubHTTPError as error:
        status, why = error.response.status_code, one_line(error.server_message or error)
        if status == 401:
            raise ConfigError(
                f"{hub} does not accept the token: make one that may write at {hub}/settings/tokens"
            ) from None
        if status in (403, 404):
            raise ConfigError(f"the token may not write to {repo} at {hub}: {why}") from None
        if status == 429 or status >= 500:
            raise Unavailable(f"{hub} answers {status}, try again later: {why}") from None
        raise InputError(f"{hub} refuses {repo}, {status}: {why}") from None
    except HFValidationError as error:
        raise InputError(f"{repo} cannot be a repository's name: {one_line(error)}") from None
    except httpx2.HTTPError as error:
        raise Unavailable(
            f"{hub} cannot be reached: {one_line(error) or type(error).__name__}"
        ) from None
    except ValueError as error:  # of the card, whose fields the hub checks
        raise InputError(f"{hub} refuses {repo}: {one_line(error)}") from None
    except (OSError, RuntimeError) as error:  # of the transfer of large files
        raise Unavailable(f"the upload to {hub} failed: {one_line(error)}") from None

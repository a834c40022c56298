"""Repositories of the Hub: one file read from them, a folder uploaded to them, and their errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import InputError, first_line

HUB_ERRORS = (HTTPError, HFValidationError, OSError)

REASONS = {
    401: "no token that the Hub knows; run `hf auth login`, or set HF_TOKEN",
    403: "this token has no right to do that",
    404: "no such repository, or a private one that this token does not open",
}


def reason(error: Exception) -> str:
    """What an error of the Hub means, in one line."""
    if isinstance(error, LocalTokenNotFoundError):
        return REASONS[401]
    if isinstance(error, RepositoryNotFoundError):
        return REASONS[404]
    if isinstance(error, RevisionNotFoundError):
        return "no such revision"
    if isinstance(error, HfHubHTTPError):
        return REASONS.get(error.response.status_code, first_line(error))
    if isinstance(error, HTTPError):
        return f"{constants.ENDPOINT} cannot be reached: {first_line(error)}"
    return first_line(error)


@contextmanager
def hub_errors(failure: str) -> Iterator[None]:
    """Turn errors of the Hub into an `InputError` that begins with what failed."""
    try:
        yield
    except HUB_ERRORS as error:
        raise InputError(f"{failure}: {reason(error)}") from None


def find_file(source: str | Path, name: str, token: str | None = None, revision: str | None = None) -> Path | None:
    """A file of a local folder or of a repository of the Hub; none if there is no such file in it."""
    if Path(source).is_dir():
        path = Path(source, name)
        return path if path.is_file() else None
    with hub_errors(f"{str(source)!r} is no folder, and cannot be read from the Hub"):
        try:
            return Path(hf_hub_download(str(source), name, token=token, revision=revision))
        except RemoteEntryNotFoundError:
            return None


class Place(NamedTuple):
    """Where something is uploaded to."""

    name: str  # OWNER/NAME, or NAME alone for the token's owner
    private: bool = True  # of a repository that is new
    token: str | None = None
    kind: str = "model"  # or dataset

    def in_full(self) -> Self:
        """The same place by OWNER/NAME."""
        if "/" in self.name:
            return self
        with hub_errors(f"{self.name!r} was not uploaded to"):
            return self._replace(name=f"{HfApi(token=self.token).whoami()['name']}/{self.name}")


def upload(
    folder: Path, place: Place, marks: frozenset[str], replaces: list[str], only: list[str] | None = None
) -> str:
    """Upload a folder's files, all or `only` those that match, in one commit, and say where they are now.

    Only a repository that is new, is empty or holds something of the same kind is written to: `marks` are the files
    that tell kinds apart, and those in the repository must be those in the folder. What matches `replaces` and is not
    in the folder is deleted there. Raises `InputError` for whatever the Hub refuses.
    """
    api = HfApi(token=place.token)
    with hub_errors(f"{place.name!r} was not uploaded to"):
        name = api.create_repo(place.name, repo_type=place.kind, private=place.private, exist_ok=True).repo_id
        there = api.repo_info(name, repo_type=place.kind)
        check_kind(name, {file.rfilename for file in there.siblings}, {path.name for path in folder.iterdir()}, marks)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type=place.kind,
            allow_patterns=only,
            delete_patterns=replaces,
            commit_message="Upload with mmnas_hf",
        )
    return f"{commit.repo_url} ({'private' if there.private else 'public'})"


def check_kind(name: str, there: set[str], ours: set[str], marks: frozenset[str]) -> None:
    """Raise `InputError` if a repository holds files of another kind than ours."""
    if there - {".gitattributes", "README.md"} and there & marks != ours & marks:
        raise InputError(f"{name!r} is taken: it holds {', '.join(sorted(there)[:5])}, ...; give another name")

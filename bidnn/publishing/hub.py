"""Folders to share: written and read, on the disk and on the Hugging Face Hub.

Not by huggingface_hub's ModelHubMixin: a base class is imported with every `BiDNN`, also where that
package is not installed, and it keeps the constructor's arguments for the model's description.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bidnn.errors import UserError
from bidnn.model import pretrained
from bidnn.model.model import Model
from bidnn.publishing.card import Card, readme
from bidnn.publishing.facts import Training

ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
FILES = [pretrained.CONFIG, pretrained.WEIGHTS, pretrained.CARD]
Origin = Training | Path | None
"""How a model came to be: what its training says, or where it was loaded from."""


def save_folder(
    folder: Path,
    model: Model,
    origin: Origin,
    card: Any = None,  # noqa: ANN401 — see Card.of
    name: str | None = None,
) -> None:
    """Writes a model's folder to share, whole or not at all.

    Args:
        folder: which must not be there, or be empty.
        model: trained.
        origin: how it came to be.
        card: a Card, or texts by its names; None: that of the folder it was loaded from.
        name: on the Hub; None: it is the folder's.

    Raises:
        UserError: if there is something already, or the card is none.
        OSError: if it cannot be written.
    """
    pretrained.check_new(folder, "folder")
    training, before = _known(origin)
    said = before if card is None else Card.of(card)
    notes = {"training": training.plain(), "card": said.plain()}
    text = readme(model, training, said, name or folder.resolve().name)
    pretrained.write_folder(folder, model, notes, text)


def push(
    repo_id: str,
    save: Callable[[Path], None],
    *,
    commit_message: str,
    private: bool | None,
    token: str | bool | None,
    branch: str | None,
    create_pr: bool | None,
) -> str:
    """Uploads a folder in one commit; the repository is made if need be.

    Args:
        repo_id: `USER/NAME`.
        save: writes the folder.
        commit_message: of the commit.
        private: whether a repository that is made is private; None: as the Hub has it.
        token: to write with; None: of `hf auth login`.
        branch: that the commit is on; None: the main one.
        create_pr: a pull request is made of it.

    Returns:
        The address of the commit.

    Raises:
        UserError: if there is no such name, or the Hub refuses.
    """
    hub = _hub()
    with TemporaryDirectory(prefix="bidnn-") as place:
        folder = Path(place) / "model"
        save(folder)
        with _answered(f"{repo_id}: the Hugging Face Hub does not take it"):
            api = hub.HfApi(token=token, library_name="bidnn")
            made = api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=made.repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        return str(commit.commit_url)


def fetch(name: str | Path, **how: Any) -> Path:  # noqa: ANN401 — of snapshot_download
    """The folder of that name, or of that model of the Hub, fetched to its cache once.

    Args:
        name: a folder, or `USER/NAME`.
        **how: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` of
            huggingface_hub's snapshot_download.

    Raises:
        FileNotFoundError: if it is neither.
        UserError: if the Hub refuses, or is out of reach.
    """
    path = Path(name)
    if path.exists():
        return path
    if not ON_HUB.fullmatch(str(name)):
        raise FileNotFoundError(f"{name}: no such folder, nor a name of the Hub, USER/NAME")
    hub = _hub()
    with _answered(f"{name}: no such folder, and the Hugging Face Hub gives no model"):
        return Path(
            hub.snapshot_download(str(name), allow_patterns=FILES, library_name="bidnn", **how)
        )


def _known(origin: Origin) -> tuple[Training, Card]:
    """What is known of a model's training, and what was said of it before."""
    if not isinstance(origin, Path):
        return origin or Training(), Card()
    if not pretrained.is_folder(origin):
        return Training.of_run(origin), Card()
    config, where = pretrained.read_config(origin), str(origin / pretrained.CONFIG)
    return Training.parsed(config.get("training"), where), Card.of(config.get("card"), where)


@contextmanager
def _answered(what: str) -> Iterator[None]:
    """Turns what the Hub, or the way to it, fails with into one line that begins with `what`."""
    from huggingface_hub import errors

    # What requests are sent by, and its errors, is another package in each major version.
    of_requests: type[Exception] = errors.HfHubHTTPError.__mro__[1]
    failed = (OSError, errors.HFValidationError, of_requests)
    try:
        yield
    except failed as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what} ({reason:.400})") from error


def _hub() -> Any:  # noqa: ANN401 — a module
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise UserError(
            "the Hugging Face Hub is asked by huggingface_hub, which is not installed; pip install "
            "'bidnn[hub]'"
        ) from error
    return huggingface_hub

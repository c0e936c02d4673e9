"""What a trained model has to be shared: huggingface_hub's verbs, by its names."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bidnn.model.model import Model
from bidnn.model.pretrained import read_folder

if TYPE_CHECKING:
    from bidnn.publishing.hub import Origin


class Shared(ABC):
    """A model that can be written as a folder for others, uploaded, and read again."""

    _origin: "Origin"

    @abstractmethod
    def _trained(self) -> Model:
        """The model; an error if there is none."""

    @classmethod
    @abstractmethod
    def _of(cls, model: Model, origin: Path) -> Self:
        """The same with that model, which was read from there."""

    def save_pretrained(self, folder: str | Path, *, card: Any = None) -> None:  # noqa: ANN401 — see Card.of
        """Writes the trained model as a folder to share, for `from_pretrained` and `bidnn.load`.

        Args:
            folder: it gets `model.safetensors`, `config.json` and `README.md`, all of them or none;
                must not be there, or be empty.
            card: what only you can say of the model, by name: `intended_use`, `limits`, `data`,
                `license`, `title` … (`bidnn.publishing.card.Card`); what was recorded of its
                training is in the README by itself.

        Raises:
            RuntimeError: if nothing was trained or loaded.
            UserError: if there is something in the folder, or a card has no such text.
            OSError: if it cannot be written.
        """
        from bidnn.publishing.hub import save_folder

        save_folder(Path(folder), self._trained(), self._origin, card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: Any = None,  # noqa: ANN401 — see Card.of
        commit_message: str = "Upload a BiDNN model",
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Uploads the folder of `save_pretrained` to the Hugging Face Hub, in one commit.

        Args:
            repo_id: `USER/NAME`, which is made if need be.
            card: as for `save_pretrained`.
            commit_message: of the commit.
            private: whether a repository that is made is private; None: as the Hub has it.
            token: to write with; None: of `hf auth login`.
            branch: that the commit is on; None: the main one.
            create_pr: a pull request is made of it.

        Returns:
            The address of the commit.

        Raises:
            RuntimeError: if nothing was trained or loaded.
            UserError: if there is no such name, or the Hub refuses.
        """
        from bidnn.publishing.hub import push, save_folder

        model, origin = self._trained(), self._origin
        return push(
            repo_id,
            lambda folder: save_folder(folder, model, origin, card, repo_id),
            commit_message=commit_message,
            private=private,
            token=token,
            branch=branch,
            create_pr=create_pr,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """A trained model from a folder of `save_pretrained`, or from the Hugging Face Hub.

        Args:
            name_or_folder: the folder, or `USER/NAME`, which is fetched to the Hub's cache once.
            revision: branch, tag or commit.
            token: to read with; None: of `hf auth login`.
            cache_dir: where it is kept; None: where huggingface_hub keeps all.
            local_files_only: nothing is fetched.
            force_download: it is fetched again.

        Raises:
            FileNotFoundError: if there is neither.
            UserError: if it is no model of bidnn, damaged or altered, or the Hub refuses.
        """
        from bidnn.publishing.hub import fetch

        folder = fetch(
            name_or_folder,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        return cls._of(read_folder(folder), folder)

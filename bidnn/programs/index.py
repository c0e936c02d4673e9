"""`bidnn index`: makes an embedding searchable, or adds rows to what is."""

import logging
from pathlib import Path

from bidnn.errors import UserError, counted
from bidnn.programs.config import IndexConfig
from bidnn.search.index import Index
from bidnn.search.kept import check_current, folder_of, is_index, is_older
from bidnn.search.presence import found_by_kind

log = logging.getLogger(__name__)


def run(config: IndexConfig) -> None:
    """Builds an index beside the embedding, and says what it is worth.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    file = Path(config.file)
    folder = folder_of(file, Path(config.folder))
    if config.add is None:
        index = _build(file, folder, config.exact_to)
    else:
        index = Index.open(folder)
        check_current(folder, file)
        index = index.add(config.add, replace=config.replace, folder=folder)
    how = "all are compared with a query"
    if index.lists is not None:
        how = f"lists find candidates; recall@10, on a sample: {index.recall:.3f} of exact search's"
    log.info("%s: %s of %d; %s", folder, counted(len(index), "row"), index.vectors.shape[1], how)
    for query, shares in found_by_kind(index).items():
        found = ", ".join(f"{100 * share:.0f} % {kind}" for kind, share in shares.items())
        who = (
            "of all rows" if query == "pool" else f"rows with {query} find among their ten nearest"
        )
        log.info("%s: %s", who, found)


def _build(file: Path, folder: Path, exact_to: int) -> Index:
    """A new index; anew, where the embedding was written since there was one."""
    anew = is_index(folder) and is_older(folder, file)
    if is_index(folder) and not anew:
        raise UserError(
            f"{folder}: an index is there already; remove it to make it anew, or add rows to it "
            "with add=FILE"
        )
    if anew:
        log.info(
            "%s was written after its index, %s, which is made anew; rows that were added to it "
            "are to be added again",
            file,
            folder,
        )
    return Index.build(file, folder=folder, exact_to=exact_to, anew=anew)

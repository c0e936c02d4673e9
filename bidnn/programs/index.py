"""`bidnn index`: makes an embedding searchable, or adds rows to what is."""

import logging
from pathlib import Path

from bidnn.errors import UserError
from bidnn.programs.config import IndexConfig
from bidnn.search.index import Index
from bidnn.search.kept import META
from bidnn.search.presence import found_by_kind

log = logging.getLogger(__name__)


def run(config: IndexConfig) -> None:
    """Builds an index beside the embedding, and says what it is worth.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    folder = Path(config.folder)
    if config.add is None:
        if (folder / META).exists():
            raise UserError(
                f"{folder}: an index is there already; remove it to make it anew, or add rows to "
                "it with add=FILE"
            )
        index = Index.build(config.file, folder=folder, exact_to=config.exact_to)
    else:
        index = Index.open(folder).add(config.add, folder=folder)
    how = "all are compared with a query"
    if index.lists is not None:
        how = f"lists find candidates; recall@10, on a sample: {index.recall:.3f} of exact search's"
    log.info("%s: %d rows of %d; %s", folder, len(index), index.vectors.shape[1], how)
    for query, shares in found_by_kind(index).items():
        found = ", ".join(f"{100 * share:.0f} % {kind}" for kind, share in shares.items())
        who = (
            "of all rows" if query == "pool" else f"rows with {query} find among their ten nearest"
        )
        log.info("%s: %s", who, found)

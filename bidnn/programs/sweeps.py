"""What the jobs of a sweep must not share."""

import hashlib
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from bidnn.errors import UserError
from bidnn.files import is_stream
from bidnn.programs.entry import sweeping


def claim_output(path: Path) -> None:
    """In a sweep, keeps a file for this job; links are followed.

    Raises:
        UserError: if another job of the sweep writes it.
    """
    if not sweeping() or is_stream(path):
        return
    hydra = HydraConfig.get()
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    claim = Path(hydra.sweep.dir) / ".outputs" / name
    claim.parent.mkdir(parents=True, exist_ok=True)
    own = str(hydra.job.num)
    try:
        with claim.open("x") as file:
            file.write(own)
    except FileExistsError:
        other = claim.read_text()
        if other != own:
            raise UserError(
                f"output.path={path}: job {other} of this sweep writes it too; use "
                "'output.path=${hydra:runtime.output_dir}/NAME', or name it after what is swept"
            ) from None

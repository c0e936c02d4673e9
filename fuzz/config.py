"""Fuzzes the command line of scripts/train.py, up to the typed configuration.

python fuzz/config.py --count 20000
"""

import logging

from hydra import compose, initialize_config_dir
from mutation import run

from bidnn.programs.config import CONF, register
from bidnn.programs.messages import USER_ERRORS, one_line
from bidnn.programs.settings import typed

SEEDS = (
    b"model.hdn=64\noptimizer.lr=0.1\ntrainer.max_epochs=3",
    b"experiment=incomplete\ndata=npz\ndata.path=a.npz\nmodel.rep=32",
    b"data=libsvm\ndata.mod1size=3\ndata.mod2size=4\ndata.index_base=zero\nspeed=fast",
    b"loss=incomplete\nmodel.self_paths=true\nembedding=even\nscaling.kind=unit",
    b"output.path=out_%e.txt\noutput.command='./evaluate.py {output}'\noutput.l2_norm=true",
    b"callbacks=early_stopping\ncallbacks.best.monitor=train/loss\n~callbacks.report",
)
TOKENS = (
    *(
        b"+",
        b"++",
        b"~",
        b"=",
        b"null",
        b"true",
        b"-1",
        b"nan",
        b"inf",
        b"1e999",
        b"[1,2]",
        b"{a: 1}",
    ),
    *(
        b"${seed}",
        b"${oc.env:HOME}",
        b"${",
        b"}",
        b"'",
        b"\\",
        b"\n",
        b".",
        b"@",
        b":",
        b"\xc3\xa9",
    ),
    *(
        b"model",
        b"model.hdn",
        b"data",
        b"optimizer=adam",
        b"_target_=os.system",
        b"seed=4294967296",
    ),
    *(b"model.rep=3", b"activation=relu", b"hydra.run.dir=x", b"data.batch_size=0", b"1.5", b"\0"),
)


def check(data: bytes) -> bool:
    """Whether the settings are accepted; a refusal must be one line, and one of ours."""
    settings = data.decode("utf-8", "replace").split("\n")
    try:
        config = compose("train", overrides=[*settings, "run_dir=x"])
    except Exception as error:  # noqa: BLE001 — Hydra's, of any kind; the program shows the line
        return _refused(error)
    try:
        typed(config)
    except USER_ERRORS as error:
        return _refused(error)
    return True


def _refused(error: Exception) -> bool:
    line = one_line(error)
    assert line, repr(error)
    assert "\n" not in line, line
    return False


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(check, SEEDS, TOKENS, count=20_000)

"""What `--help` says of a program; `docs.py` has what it says of single settings."""

import re
from collections.abc import Sequence
from pathlib import Path

from bidnn.programs.config import CONF, PROGRAMS
from bidnn.programs.docs import Settings, first_clause, summary
from bidnn.programs.settings import compose_program, find_classes
from bidnn.programs.tuning.arguments import as_hydra, is_own

DAILY = {
    "train": (
        *("data.path", "data.first", "data.second", "data.batch_size", "data.val_fraction"),
        *("model.hdn", "model.rep", "optimizer.lr", "trainer.max_epochs", "missing"),
        *("output.path", "seed", "resume"),
    ),
    "doctor": ("data.path", "data.first", "data.second", "scaling.kind", "output.path", "seed"),
    "embed": (
        *("checkpoint", "data.path", "data.first", "data.second", "missing", "output.path"),
        *("output.kind", "output.l2_norm", "device"),
    ),
    "convert": ("data.path", "data.first", "data.second", "output.path", "output.zero_based"),
    "compare": ("data.path", "methods", "common", "rates", "seeds"),
    "tune": ("trials", "objective", "prune", "sampler", "seed", "resume", "gone"),
    "index": ("file", "folder", "add", "replace", "exact_to"),
    "report": ("runs", "objective", "data.path", "output.path", "umap", "device"),
    "search": (
        *("file", "id", "checkpoint", "data.path", "first", "second", "k", "having", "output.path"),
        "device",
    ),
    "export": (
        *("checkpoint", "pretrained", "card.intended_use", "card.limits", "card.data"),
        *("card.license", "onnx", "data.path"),
    ),
}
EXAMPLES = {
    "train": (
        "bidnn train data=npz data.path=features.npz model.hdn=1024 model.rep=512",
        "bidnn train experiment=incomplete data=npy data.first=text.npy data.second=image.npy",
        "bidnn train -m model.rep=64,128,256 optimizer.lr=0.03,0.1",
    ),
    "doctor": (
        "bidnn doctor data=npz data.path=features.npz",
        "bidnn doctor data=npz data.path=features.npz experiment=crossmodal output.path=found.md",
    ),
    "embed": (
        "bidnn embed checkpoint=runs/DATE/TIME data=npz data.path=new.npz output.path=z.npz",
        "bidnn embed checkpoint=runs/DATE/TIME data=npz data.path=new.npz output.kind=crossmodal",
        "bidnn embed checkpoint=model.pt data=npy data.first=a.npy data.second=b.npy device=cpu",
    ),
    "convert": (
        "bidnn convert data=npz data.path=features.npz output.path=features.npy",
        "bidnn convert data=libsvm data.path=f.txt data.mod1size=9 data.mod2size=5 "
        "output.path=f.npz",
        "bidnn convert data=mat data.path=f.mat data.first=X data.second=Y output.path=f.txt",
    ),
    "compare": (
        "bidnn compare data=npz data.path=features.npz",
        "bidnn compare data=npz data.path=features.npz 'rates=[0.0,0.5,0.9]' 'seeds=[0,1,2,3,4]'",
        "bidnn compare '~methods.cca' '+methods.wide={train: [size=paper]}'",
    ),
    "tune": (
        "bidnn tune experiment=incomplete data=npz data.path=features.npz space=default trials=50",
        "bidnn tune data=npz data.path=features.npz 'space.model.rep=choice(64,128)' "
        "trials=9 seed=1",
        "bidnn tune space=default objective=val/loss hydra.run.dir=runs/tune/mine",
    ),
    "index": (
        "bidnn index embedding.parquet",
        "bidnn index embedding.parquet add=new.parquet",
    ),
    "report": (
        "bidnn report runs/DATE/TIME",
        "bidnn report runs/sweeps/DATE/TIME",
        "bidnn report runs/DATE/TIME runs/DATE/OTHER objective=agreement output.path=both.html",
    ),
    "search": (
        "bidnn search embedding.parquet id=video7 k=5",
        "bidnn search embedding.parquet checkpoint=runs/DATE/TIME data=npz data.path=new.npz",
        "bidnn search embedding.parquet checkpoint=runs/DATE/TIME first=a.npy output.path=h.jsonl",
    ),
    "export": (
        "bidnn export runs/DATE/TIME pretrained=my-model card.license=apache-2.0",
        "bidnn export runs/DATE/TIME onnx=graphs",
        "bidnn export runs/DATE/TIME onnx=graphs data=npz data.path=features.npz",
    ),
}


def explain(program: str, arguments: Sequence[str]) -> str:
    """The help of a program, or of single settings.

    Args:
        program: train, embed, convert or compare.
        arguments: the rest of the command line: settings or groups to explain, such as `model.hdn`
            or `trainer`; none for the whole. Others (`size=paper`, `--config-dir DIR`) change
            which defaults and choices are shown.

    Raises:
        UserError: if there is no such setting.
    """
    folders = [CONF, *own_folders(arguments)]
    find_classes(folders[1:])
    keys = [a for a in arguments if "=" not in a and not a.startswith(("-", "~")) and a]
    keys = [key for key in keys if Path(key) not in folders]
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    if program == "tune" and keys and not any(map(is_own, keys)):
        program, overrides = "train", [o for o in overrides if not is_own(o)]
    elif program == "tune":
        overrides = as_hydra(overrides)
    choices = groups(program, folders)
    if not keys:
        return _program(program, choices)
    if "data" in choices and not any(o.startswith("data=") for o in overrides):
        overrides.append("data=digits")
    settings = Settings(program, compose_program(program, overrides, folders[1:]), choices)
    return "\n".join(settings.explain(key) for key in keys)


def own_folders(arguments: Sequence[str]) -> list[Path]:
    """The folder that a command line adds with `--config-dir`, if it does."""
    found = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in ("--config-dir", "-cd"):
            found.append(Path(argument))
        elif argument.startswith("--config-dir="):
            found.append(Path(argument.partition("=")[2]))
    return found


def groups(program: str, folders: Sequence[Path] = (CONF,)) -> dict[str, dict[str, Path]]:
    """The groups that a program composes, and by name the files that can be chosen of each."""
    defaults = (CONF / f"{program}.yaml").read_text().split("defaults:")[1]
    names = re.findall(r"^  - (\w+): ", defaults, re.MULTILINE)
    return {
        name: {
            path.stem: path for folder in folders for path in sorted((folder / name).glob("*.yaml"))
        }
        for name in names
    }


def _program(program: str, choices: dict[str, dict[str, Path]]) -> str:
    settings = Settings(program, None, choices)
    lines = [summary(PROGRAMS[program]), "", "Settings that are typed daily (KEY=VALUE):"]
    lines += [f"  {key:18}  {first_clause(settings.texts(key)[0])}" for key in DAILY[program]]
    lines += ["", "Examples:", *(f"  {example}" for example in EXAMPLES[program])]
    lines += [
        "",
        f"bidnn {program} --help KEY explains a setting or a group. --config-dir DIR adds a folder",
        "of your own choices (docs/extending.md). -m runs all combinations of a,b,c values.",
        "",
        "Choices (GROUP=CHOICE):",
    ]
    lines += [f"  {group:18}  {', '.join(files)}" for group, files in choices.items()]
    return "\n".join(lines) + "\n"

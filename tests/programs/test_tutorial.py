"""docs/tutorial.md to the letter: two files, a training, a search, a report, another machine."""

import json
import re
import shlex
import shutil
import time

import pytest
from pyarrow import parquet

from tests.programs.running import ROOT, succeed

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
HERE, ELSEWHERE = PAGE.split("## On another machine")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text):
    return [
        line for block in blocks(text, "sh") for line in block.splitlines() if line[:4] != "pip "
    ]


def test_the_tutorial_finds_images_by_a_text_and_goes_on_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, said, began = {}, {}, time.monotonic()
    (made,), (saved,) = blocks(HERE, "python"), blocks(ELSEWHERE, "python")
    exec(compile(made, "tutorial.md", "exec"), names)
    for line in commands(HERE):
        program, *rest = shlex.split(line)[1:]
        ended = succeed("-m bidnn", program, *rest, cwd=tmp_path)
        said[program] = ended.out + ended.err
    assert list(said) == ["doctor", "train", "index", "search"]

    shown = [line for block in blocks(HERE, "text") for line in block.splitlines()]
    assert shown[0] in said["train"]
    explained = [float(figure) for figure in re.findall(r"(?:first|second) (0\.\d+)", shown[1])]
    found = json.loads((tmp_path / "model" / "metrics.json").read_text())
    for name, figure in zip(("first_to_second", "second_to_first"), explained, strict=True):
        assert found[f"explained/{name}"] == pytest.approx(figure, abs=0.03)
    assert "700 ids in both, 300 in the first only, 200 in the second only" in said["train"]
    assert "17 % lack the first modality, 25 % lack" in " ".join(said["doctor"].split())

    hits = [line.split("│")[1:-1] for line in said["search"].splitlines() if line[:1] == "│"]
    assert len(hits) == 5
    topic = names["texts"].set_index("id").loc["video7", "title"]
    assert sum(hit[5].split("/")[0].strip() == topic for hit in hits) >= 4
    assert all(hit[6].strip() in ("both", "second") for hit in hits)
    assert "<title>" in (tmp_path / "model" / "report.html").read_text()

    exec(compile(saved, "tutorial.md", "exec"), names)
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("model.pt", "library.parquet", "new.parquet"):
        shutil.copy(name, other)
    for line in commands(ELSEWHERE):
        succeed("-m bidnn", *shlex.split(line)[1:], cwd=other)
    lines = [json.loads(line) for line in (other / "hits.jsonl").read_text().splitlines()]
    assert [line["query"] for line in lines] == ["new0"] * 5 + ["new1"] * 5 + ["new2"] * 5
    right = [line["file"].split("/")[0] for line in lines]
    wanted = [title for title in names["texts"]["title"][:3] for _ in range(5)]
    assert sum(map(str.__eq__, right, wanted)) >= 13
    embedded = parquet.read_table(other / "new_embedding.parquet")
    assert embedded["id"].to_pylist() == ["new0", "new1", "new2"]
    assert time.monotonic() - began < 120  # ten to twenty seconds on a free machine

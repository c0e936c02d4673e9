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

FIGURE = r"0\.\d+"
LAST_DIGITS = 0.002
"""By how much figures of three digits may differ from the page's. They are the same with one thread
and with two, with the processor's vectors, with AVX2 only and with none; figures of other code,
which this page had once, were 0.005 to 0.01 away."""


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text):
    return [
        line for block in blocks(text, "sh") for line in block.splitlines() if line[:4] != "pip "
    ]


def assert_said(line, said):
    """A line that a program printed, but for the last digits of its figures."""
    text, figures = re.sub(FIGURE, "#", line), [float(f) for f in re.findall(FIGURE, line)]
    (printed,) = [p for p in said.splitlines() if re.sub(FIGURE, "#", p).endswith(text)]
    assert [float(f) for f in re.findall(FIGURE, printed)] == pytest.approx(
        figures, abs=LAST_DIGITS
    )


def assert_table_is_as_written(said):
    """What the page tells of the doctor's table."""
    levels = re.findall(r"^│ (fine|look|fix) +│", said, re.M)
    assert [level for level in levels if level != "fine"] == ["look"]
    told = re.search(r"explains (\d+) % .* and (\d+) % of .* with permuted pairs (0\.\d) %", HERE)
    cells = re.findall(r"^│[^│]*│[^│]*│([^│]*)│", said, re.M)
    measured = " ".join(" ".join(cells).split())
    assert "17 % lack the first modality, 25 % lack the second" in measured
    assert "17 % of the rows lack the first modality, 25 % the second" in HERE
    assert f"first → second {told[1]} % (permuted" in measured
    assert f"second → first {told[2]} % (permuted" in measured
    most = re.findall(r"permuted pairs at most (?:less than )?([\d.]+) %", measured)
    assert len(most) == 2
    assert max(map(float, most)) <= float(told[3])


def assert_hits_are_as_written(shown, said):
    """By id, since hits that are equally near may change places."""
    tables = []
    for text in (shown, said):
        lines = [line.split("│")[1:-1] for line in text.splitlines() if line[:1] == "│"]
        rows = [[cell.strip() for cell in line] for line in lines]
        tables.append({row[2]: (float(row[3]), row[:1] + row[4:]) for row in rows})
    written, found = tables
    assert set(written) == set(found)
    for name, (similarity, rest) in written.items():
        assert found[name][0] == pytest.approx(similarity, abs=LAST_DIGITS)
        assert found[name][1] == rest
    (only,) = [name for name, (_, rest) in written.items() if rest[-1] == "second"]
    assert f"`{only}` has an image only" in HERE


def test_the_tutorial_finds_images_by_a_text_and_goes_on_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the page's figures are a processor's
    names, said, began = {}, {}, time.monotonic()
    (made,), (saved,) = blocks(HERE, "python"), blocks(ELSEWHERE, "python")
    exec(compile(made, "tutorial.md", "exec"), names)
    for line in commands(HERE):
        program, *rest = shlex.split(line)[1:]
        ended = succeed("-m bidnn", program, *rest, cwd=tmp_path)
        said[program] = ended.out + ended.err
    assert list(said) == ["doctor", "train", "index", "search"]

    trained, searched = blocks(HERE, "text")
    for line in trained.splitlines():
        assert_said(line, said["train"])
    explained = [float(figure) for figure in re.findall(r"(?:first|second) (0\.\d+)", trained)]
    found = json.loads((tmp_path / "model" / "metrics.json").read_text())
    for name, figure in zip(("first_to_second", "second_to_first"), explained, strict=True):
        assert found[f"explained/{name}"] == pytest.approx(figure, abs=LAST_DIGITS)
    assert_table_is_as_written(said["doctor"])
    assert "700 ids in both, 300 in the first only, 200 in the second only" in said["train"]

    hits = [line.split("│")[1:-1] for line in said["search"].splitlines() if line[:1] == "│"]
    assert len(hits) == 5
    assert_hits_are_as_written(searched, said["search"])
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

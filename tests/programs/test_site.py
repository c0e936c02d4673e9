"""The site of docs/: built without a warning, whole, and nothing in it needs a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from bidnn import __all__ as public
from bidnn.programs.config import CONF, PROGRAMS
from bidnn.programs.help import groups
from tests.programs.running import ROOT

pytestmark = pytest.mark.slow


LOADED = {("script", "src"), ("img", "src"), ("source", "srcset"), ("iframe", "src")}


class Places(HTMLParser):
    """What a page loads, where it leads, and the ids that it has."""

    def __init__(self):
        super().__init__()
        self.loaded, self.links, self.ids, self.words = [], [], set(), []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif (tag, name) in LOADED or (tag == "link" and name == "href"):
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """By name, the pages of the site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site") / "site"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = built.stdout + built.stderr
    assert built.returncode == 0, said
    assert "Documentation built" in said  # a quiet build is strict about nothing
    assert "WARNING" not in said
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = {}
    for path in {*site.rglob("*.html")} - {site / "404.html"}:  # a server's, which has its own root
        found[str(path.relative_to(site))] = places = Places()
        places.feed(path.read_text())
    return found


def test_every_page_is_there_and_reached_from_the_first(pages):
    written = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    assert written | {"index.html", "settings.html"} <= set(pages)
    reached = {link.partition("#")[0] for link in pages["index.html"].links}
    assert written <= reached
    assert len(written) >= 18


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for name, page in pages.items():
        assert page.loaded, name
        for place in page.loaded:
            assert not re.match(r"(https?:)?//", place), (name, place)
            assert (site / Path(name).parent / unquote(place.partition("#")[0])).exists(), place
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style


def test_links_within_the_site_lead_to_a_page_and_to_what_is_on_it(pages):
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            target = os.path.normpath(Path(name).parent / target) if target else name
            assert target in pages, (name, link)
            assert not anchor or unquote(anchor) in pages[target].ids, (name, link)
            followed += 1
    assert followed > 500


def test_search_works_without_a_server(site):
    """Opened from a disk, a page may not fetch the index: it is a script, and so is the worker."""
    assert "incomplete" in (site / "search" / "search_index.js").read_text()
    assert "IFrameWorker" in (site / "assets" / "iframe-worker.js").read_text()


def test_the_page_of_settings_has_every_setting_and_every_choice(pages):
    page = pages["settings.html"]
    text = " ".join(page.words)
    for program in PROGRAMS:
        assert f"bidnn-{program}" in page.ids
    for group, files in groups("train").items():
        assert group in page.ids
        for name in files:
            assert f"{group}={name}" in text, (group, name)
    for key in ("model.hdn=256", "loss.alignment=0.0", "data.second_path", "embedding.shared=0.0"):
        assert key in text
    composed = yaml.safe_load((CONF / "trainer" / "default.yaml").read_text())
    assert all(f"trainer.{key}" in text for key in composed if key != "defaults")
    assert "share of the centre's units set to zero in training" in " ".join(text.split())


def test_the_page_of_the_python_interface_has_every_public_name(pages):
    page = pages["api.html"]
    assert {f"bidnn.{name}" for name in public if name != "__version__"} <= page.ids
    assert {"bidnn.BiDNN.fit", "bidnn.BiDNN.translate", "bidnn.Index.search"} <= page.ids
    assert "bidnn.evaluation.retrieve" in page.ids


def test_links_of_the_readme_lead_to_files():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert len(links) > 20
    for link in links:
        assert (ROOT / link).is_file(), link


def test_links_of_the_pages_lead_to_files_of_the_repository():
    """As they are read on a forge; what is only built is no target."""
    followed = 0
    for page in (ROOT / "docs").glob("*.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not re.match(r"[a-z]+:", link):
                assert (page.parent / link).is_file(), (page.name, link)
                followed += 1
    assert followed > 60


def test_the_site_leads_to_its_page_of_settings_from_where_it_is_named(pages):
    for name in ("training.html", "python.html", "api.html"):
        text = (ROOT / "docs" / name).with_suffix(".md").read_text()
        assert "`make docs` builds a page of all settings" in text
        named = [link for link in pages[name].links if link == "settings.html"]
        assert len(named) == 2, name  # in the navigation, and in the text


def test_the_picture_is_the_same_in_light_and_in_dark():
    light, dark = ((ROOT / "docs" / f"network{of}.svg").read_text() for of in ("", "-dark"))
    colour = re.compile(r"#[0-9a-f]{6}\b")
    assert colour.sub("", light) == colour.sub("", dark)
    assert not set(colour.findall(light)) & set(colour.findall(dark))

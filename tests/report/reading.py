"""Reads a page as a browser would."""

import json
from html.parser import HTMLParser


def read(path):
    """The data inside a page, as a browser finds it."""
    found = []

    class Reader(HTMLParser):
        inside = False

        def handle_starttag(self, tag, attrs):
            self.inside = tag == "script" and ("id", "facts") in attrs
            assert tag not in ("img", "iframe", "object")
            assert not any(name in ("src", "onerror") for name, _ in attrs)

        def handle_data(self, data):
            if self.inside:
                found.append(data)

        def handle_endtag(self, tag):
            self.inside = False

    Reader().feed(path.read_text())
    return json.loads("".join(found))

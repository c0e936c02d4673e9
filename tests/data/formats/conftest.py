"""Fixtures of several files."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property: hypothesis does not renew function fixtures."""
    return tmp_path_factory.mktemp("libsvm")

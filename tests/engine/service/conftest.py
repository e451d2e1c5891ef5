"""One storage for all tests here: no other one can change their outcome."""

import pytest
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage


@pytest.fixture
def world(tmp_path, make_world):
    """A service of its own in a FileStorage."""
    with make_world(lambda: DB(FileStorage(str(tmp_path / 'Data.fs'))),
                    shared=False) as world:
        yield world

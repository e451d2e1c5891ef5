"""Databases of zope.generations: new ones, and those of 0.5.2."""

import gzip
import sys
from pathlib import Path

import pytest
import transaction
import zope.component
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.generations.generations import EVOLVE
from zope.generations.generations import EVOLVEMINIMUM
from zope.generations.generations import EVOLVENOT
from zope.generations.generations import evolve
from zope.generations.interfaces import ISchemaManager
from zope.interface.verify import verifyObject

from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.generations import schemaManager

MIGRATION = Path(__file__).parents[2] / 'upstream' / 'migration'


def test_the_manager_has_its_name(driver):
    manager = zope.component.getUtility(ISchemaManager, 'lovely.remotetask')
    assert manager is schemaManager
    assert verifyObject(ISchemaManager, manager)


def test_the_application_was_installed(driver):
    with driver.world.database.transaction() as connection:
        assert connection.root()['zope.generations'][
            'lovely.remotetask'] == 1


@pytest.mark.parametrize('how', [EVOLVE, EVOLVEMINIMUM, EVOLVENOT])
@pytest.mark.parametrize('key', ['zope.generations', 'zope.app.generations',
                                 None])
def test_databases_open(driver, how, key):
    # 0.5.2 was of generation 0, noted under the old key.
    database = DB(None)
    with database.transaction() as connection:
        root = connection.root()
        root['Application'] = PersistentMapping()
        if key is not None:
            root[key] = PersistentMapping({'lovely.remotetask': 0})
    evolve(database, how)
    with database.transaction() as connection:
        # The operator decides when it is evolved; a new one needs nothing.
        assert connection.root()['zope.generations']['lovely.remotetask'] == (
            1 if key is None or how == EVOLVE else 0)
    transaction.abort()
    database.close()


@pytest.fixture
def written(tmp_path):
    """A database that 0.5.2 has written: see tests/upstream/migration."""
    path = tmp_path / 'old.fs'
    path.write_bytes(gzip.decompress((MIGRATION / 'Data.fs.gz').read_bytes()))
    database = DB(FileStorage(str(path)))
    with database.transaction() as connection:
        # What zope.app.generations had noted.
        connection.root()['zope.app.generations'] = PersistentMapping(
            {'lovely.remotetask': 0})
    yield database
    transaction.abort()
    database.close()


def generation(database):
    with database.transaction() as connection:
        return connection.root()['zope.generations']['lovely.remotetask']


def test_services_of_0_5_2_are_migrated(driver, written, monkeypatch):
    monkeypatch.syspath_prepend(str(MIGRATION))
    evolve(written, EVOLVEMINIMUM)
    assert generation(written) == 0
    with written.transaction() as connection:
        with pytest.raises(NotMigrated):
            connection.root()['Application']['tasks'].stats()
    evolve(written, EVOLVE)
    assert generation(written) == 1
    with written.transaction() as connection:
        root = connection.root()['Application']
        assert root['tasks'].stats()['queued'] == 627
        manager = root['site1'].getSiteManager()
        assert manager['default']['mail'].stats()['queued'] == 3
    evolve(written, EVOLVE)
    sys.modules.pop('press')


def test_one_that_cannot_be_migrated_opens(driver, written, caplog):
    """The code of a job is missing: it is tried again at the next start."""
    sys.modules.pop('press', None)
    evolve(written, EVOLVE)
    assert generation(written) == 0
    # Of a service of its own: once left out, it would never be evolved.
    assert ('/site1/++etc++site/default/mail cannot be read: its class '
            'press.PressService cannot be imported') in caplog.text

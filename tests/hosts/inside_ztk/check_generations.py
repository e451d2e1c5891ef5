"""Databases of zope.generations: new ones, and those of 0.5.2."""

import pytest
import transaction
import zope.component
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from zope.generations.generations import EVOLVE
from zope.generations.generations import EVOLVEMINIMUM
from zope.generations.generations import EVOLVENOT
from zope.generations.generations import evolve
from zope.generations.interfaces import ISchemaManager
from zope.interface.verify import verifyObject

from lovely.remotetask.generations import schemaManager


def test_the_manager_has_its_name(driver):
    manager = zope.component.getUtility(ISchemaManager, 'lovely.remotetask')
    assert manager is schemaManager
    assert verifyObject(ISchemaManager, manager)


def test_the_application_was_installed(driver):
    with driver.world.database.transaction() as connection:
        assert connection.root()['zope.generations'][
            'lovely.remotetask'] == 0


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
        assert connection.root()['zope.generations'][
            'lovely.remotetask'] == 0
    transaction.abort()
    database.close()

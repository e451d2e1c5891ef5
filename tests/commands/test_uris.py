"""URIs of PostgreSQL, with a real server: what they leave out, and quotes."""

import psycopg2.extensions
import pytest
import transaction
import zodburi
from ZODB.DB import DB

from lovely.remotetask.cli import databases
from lovely.remotetask.edge import db
from lovely.remotetask.edge import uris

FORMS = [
    'postgresql://{user}@{host}/{dbname}',
    'postgresql://{user}@{host}:{port}/{dbname}',
    'postgresql://{user}@{host}:/{dbname}',
    'postgresql://{user}:p%20w%27%5C@{host}/{dbname}',
    'postgresql://{user}@{host}/{dbname}?connection_pool_size=3'
    '&connect_timeout=5',
]


@pytest.fixture
def parts(postgresql):
    """The parts of the dsn of an empty database."""
    return {'port': '5432', **psycopg2.extensions.parse_dsn(postgresql)}


@pytest.mark.parametrize('form', FORMS)
def test_uris_of_postgresql(parts, form):
    # As pyramid_zodbconn and others open it.
    uri = form.format(**parts)
    factory, options = zodburi.resolve_uri(uri)
    database = DB(factory(), **options)
    with database.transaction() as connection:
        connection.root()['here'] = 1
    assert database.getPoolSize() == (3 if 'pool_size' in uri else 7)
    db.close(database)
    # As the command line does, for which both schemes are the same.
    database = databases.open_uri(uri.replace('postgresql:', 'postgres:'))
    with database.transaction() as connection:
        assert connection.root()['here'] == 1
    db.close(database)
    transaction.abort()


def test_what_a_uri_leaves_out_is_left_to_postgresql(parts, monkeypatch):
    # libpq's own variables: no part is called "None".
    for name, part in (('PGUSER', 'user'), ('PGHOST', 'host'),
                       ('PGPORT', 'port')):
        monkeypatch.setenv(name, parts[part])
    factory, _ = uris.resolve(f'postgresql:///{parts["dbname"]}')
    storage = factory()
    assert storage.lastTransaction() is not None
    storage.close()


@pytest.mark.parametrize('uri', ['file:///Data.fs', 'zeo://localhost:1',
                                 'postgresfoo://x', 'postgres'])
def test_other_uris_stay_as_they_are(uri):
    assert uris.complete(uri) == uri

"""What may be stored with a job, and what is."""

import sys
import types

import pytest
import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.security.checker import NamesChecker
from zope.security.proxy import Proxy

from lovely.remotetask import payload
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.job import Job
from lovely.remotetask.processor import SimpleProcessor

BIG = 'x' * 5000


class Plain:
    """An instance of a plain class."""

    def __init__(self, value):
        self.value = value


class Node(Persistent):
    pass


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


@pytest.mark.parametrize('make, reason', [
    (lambda: lambda: 1, 'cannot be pickled'),
    (lambda: {'a': [lambda: 1]}, 'cannot be pickled'),
    (lambda: (n for n in ()), 'cannot be pickled'),
    (lambda: Proxy([1], NamesChecker()), 'security proxy'),
    (lambda: {'a': [Plain(Proxy(1, NamesChecker()))]}, 'security proxy'),
])
def test_refused_at_add_with_the_reason(service, make, reason):
    with pytest.raises(InputRejected, match=reason) as caught:
        service.add('echo', make())
    assert "task 'echo'" in str(caught.value)
    assert len(service.jobs) == 0
    assert isinstance(caught.value, ValueError)


def test_new_persistent_objects_are_looked_into(service):
    node = Node()
    node.child = Node()
    node.child.bad = lambda: 1
    with pytest.raises(InputRejected):
        service.add('echo', node)
    # Looking gave nothing an oid.
    assert node._p_oid is None and node.child._p_oid is None
    node.child.bad = None
    node.loop = node
    jobid = service.add('echo', {'node': node})
    transaction.commit()
    assert service.jobs[jobid].input['node'] is node
    assert node.child._p_jar is service._p_jar


def test_objects_of_another_database_are_refused(service):
    other = DB(MappingStorage())
    manager = transaction.TransactionManager()
    connection = other.open(manager)
    connection.root()['node'] = node = Node()
    manager.commit()
    with pytest.raises(InputRejected, match='another database'):
        service.add('echo', [node])
    connection.close()
    other.close()


def test_objects_of_another_connection_are_refused(application, service):
    again, close = application.fresh(service)
    with pytest.raises(InputRejected, match='connection'):
        service.add('echo', [again])
    close()


def test_too_long_is_refused(service):
    with pytest.raises(InputRejected, match='Blob'):
        payload.check('x' * 1000, limit=999)
    with pytest.raises(InputRejected, match='Blob'):
        payload.check(Plain('x' * 1000), limit=999)
    assert payload.check('x' * 1000) >= 1000


def test_a_blob_is_fine(service):
    blob = Blob(b'data')
    assert payload.check({'blob': blob}, service._p_jar) > 0
    assert blob._p_oid is None


def test_long_values_have_a_record_of_their_own(application, service):
    small, large = service.add('echo', 'x'), service.add('echo', BIG)
    transaction.commit()
    size = application.db.storage.getSize
    assert service.jobs[large].input == BIG
    before = size()
    service.startJob(small)
    service.jobs[large].put(failures=1)     # what the machinery does
    transaction.commit()
    assert size() - before < 1000, 'the input was written again'
    service.process()
    transaction.commit()
    assert service.getResult(large) == BIG


@pytest.mark.parametrize('size', [1, 5000])
def test_the_value_at_commit_is_what_is_stored(application, service, size):
    def stored(jobid):
        again, close = application.fresh(service)
        value = dict(again.jobs[jobid].input)
        close()
        return value

    value = {'pad': 'x' * size}
    jobid = service.add('echo', value)
    value['after add'] = 1
    transaction.savepoint()
    value['after savepoint'] = 2
    transaction.commit()
    assert stored(jobid)['after add'] == 1
    assert stored(jobid)['after savepoint'] == 2
    # Marked by hand, as one does with a changed dict:
    job = service.jobs[jobid]
    job.input['by hand'] = 3
    job._p_changed = True
    transaction.commit()
    assert stored(jobid)['by hand'] == 3
    job.input = {'assigned': 4}
    transaction.commit()
    assert stored(jobid) == {'assigned': 4}
    shelved = service.add('echo', {'pad': 'x' * size}, startLater=True)
    transaction.commit()
    service.jobs[shelved].input['started'] = 5
    service.startJob(shelved)
    transaction.commit()
    assert stored(shelved)['started'] == 5


def test_a_result_that_cannot_be_stored_is_an_error(service, register):
    register(lambda input: (lambda: 1), 'bad')
    jobid = service.add('bad')
    service.process()
    transaction.commit()
    assert service.getStatus(jobid) == 'error'
    assert 'the result cannot be stored' in service.getError(jobid)


def test_weighing_knows_plain_data():
    assert payload.weigh({'a': [1, 2.0, None, True, b'x', ('y',)]}) > 10
    assert payload.weigh(Plain(1)) is None
    assert payload.weigh([Plain(1)]) is None
    deep = []
    for _ in range(1000):
        deep = [deep]
    assert payload.weigh(deep) is None
    assert payload.weigh(PersistentMapping()) is None


def test_an_exception_as_error_becomes_text():
    job = Job(1, 'echo', None)
    job.error = ValueError('no')
    assert str(job.error) == 'no' and job.error.type == 'ValueError'
    assert type(job.__dict__['error']) is tuple
    job.error = ValueError()
    assert str(job.error) == 'ValueError'


GONE = """
class Gone:
    def __init__(self, value):
        self.value = value

class Picky(Gone):
    def __setstate__(self, state):
        if state.get('value') == 'refuse':
            raise RuntimeError('not this one')
        self.__dict__.update(state)
"""


@pytest.mark.parametrize('make, reason, status', [
    # Another worker may have the class: see kit/test_lacking.py.
    (lambda module: {'deep': [module.Gone('x')]}, 'no class gone_one_day',
     'queued'),
    (lambda module: module.Gone('x'), 'no class gone_one_day', 'queued'),
    (lambda module: [module.Picky('refuse')], 'not this one', 'error'),
])
def test_an_input_that_cannot_be_loaded_harms_nobody(
        application, service, make, reason, status):
    module = types.ModuleType('gone_one_day')
    exec(GONE, module.__dict__)
    for kind in (module.Gone, module.Picky):
        kind.__module__ = 'gone_one_day'
    sys.modules['gone_one_day'] = module
    try:
        broken, sound = service.add('echo', make(module)), service.add('echo')
        transaction.commit()
    finally:
        if reason != 'not this one':
            del sys.modules['gone_one_day']
    # Connections that have the class in their memory must not hide it.
    application.db.cacheMinimize()
    processor = SimpleProcessor(application.db, ['tasks'])
    try:
        assert processor.processNext() and processor.processNext()
        assert not processor.processNext()
        if status == 'queued':
            # Run here and now, nothing waits for another worker.
            transaction.begin()
            service.process()
            transaction.commit()
    finally:
        sys.modules.pop('gone_one_day', None)
    transaction.begin()
    assert service.getStatus(broken) == 'error'
    assert 'cannot load input' in service.getError(broken)
    assert reason in service.getError(broken)
    assert service.getStatus(sound) == 'completed'
    assert len(service.listJobs()[0]) == 2
    service.clean()
    assert len(service.jobs) == 0


def retried(service, jobid):
    service.retryJob(jobid)


def replaced(service, jobid):
    service.add('echo', key='a', onDuplicate='replace')


@pytest.mark.parametrize('size', [1, 5000])
@pytest.mark.parametrize('options, verb', [
    ({}, retried),
    ({'delay': 60}, retried),
    ({'startLater': True}, lambda service, jobid: service.startJob(jobid)),
    ({'cron': True}, lambda service, jobid: service.reschedule(jobid)),
    ({}, lambda service, jobid: service.cancel(jobid)),
    ({}, lambda service, jobid: service.cancelMany([jobid])),
    ({'key': 'a'}, replaced),
    ({}, lambda service, jobid: service.claimNextJob()),
    ({}, lambda service, jobid: setattr(
        service.jobs[jobid], 'priority', 1)),
], ids=['retry', 'retry scheduled', 'start', 'reschedule', 'cancel',
        'cancel many', 'replace', 'claim', 'assignment'])
@pytest.mark.parametrize('first', ['the verb', 'the change'])
@pytest.mark.parametrize('savepoint', [False, True])
def test_a_change_by_hand_is_stored_whatever_moved_the_job(
        application, service, options, verb, size, first, savepoint):
    value = {'pad': 'x' * size}
    if options.get('cron'):
        jobid = service.addCronJob('echo', value, hour=(3,))
    else:
        jobid = service.add('echo', value, **options)
    transaction.commit()
    if verb is retried:
        service.cancel(jobid)
        transaction.commit()
    service._p_jar.cacheMinimize()

    def change(name):
        job = service.jobs[jobid]
        job.input[name] = 1
        job._p_changed = True

    if first == 'the change':
        change('x')
    verb(service, jobid)
    if first == 'the verb':
        change('x')
    if savepoint:
        transaction.savepoint()
        change('after')
    transaction.commit()
    again, close = application.fresh(service)
    assert set(again.jobs[jobid].input) == (
        {'pad', 'x', 'after'} if savepoint else {'pad', 'x'})
    close()

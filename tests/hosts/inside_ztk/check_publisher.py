"""ProcessorRequest, ProcessorPublication, and views of an application's own.
"""

import base64
import io
import xmlrpc.client

import pytest
import transaction
from zope.app.publication.zopepublication import ZopePublication
from zope.app.wsgi import WSGIPublisherApplication
from zope.configuration import xmlconfig
from zope.publisher.base import BaseRequest
from zope.publisher.publish import publish

from lovely.remotetask.processor import ProcessorPublication
from lovely.remotetask.processor import ProcessorRequest


def test_they_are_those_of_the_publisher(driver):
    assert issubclass(ProcessorRequest, BaseRequest)
    assert issubclass(ProcessorPublication, ZopePublication)


def test_an_application_publishes_with_them(driver):
    # As a processor of 0.5.2 called a method of its service.
    jobid = driver.add(None, 'echo', 'x')
    request = ProcessorRequest(None, jobid)
    request.setPublication(ProcessorPublication(driver.world.database))
    request.setTraversalStack(['processNext', 'tasks', 'site'])
    publish(request, False)
    assert request.response._result is True
    assert driver.job(jobid)['output'] == 'x'


def test_a_conflict_at_the_commit_of_an_answer_is_no_answer(driver):
    # A view's answer past the marshaller must not hide what comes later.
    from transaction.interfaces import TransientError

    failures = [TransientError('conflict'), ValueError('disk full')]

    class Refuse:
        transaction_manager = transaction.manager

        def __init__(self, error):
            self.error = error

        def sortKey(self):
            return ''

        def tpc_begin(self, current):
            raise self.error

        def abort(self, current):
            pass

        tpc_abort = commit = tpc_vote = tpc_finish = abort

    from lovely.remotetask import events

    def subscriber(event):
        if isinstance(event, events.JobAdded) and failures:
            transaction.get().join(Refuse(failures.pop(0)))

    import zope.event
    zope.event.subscribers.append(subscriber)
    try:
        answer = call(driver, 'add', 'echo', 1)
    finally:
        zope.event.subscribers.remove(subscriber)
    # The first one was tried again, the second one is told.
    assert b'disk full' in answer
    assert not failures
    assert driver.count() == 0


def test_views_of_an_application_made_from_the_class_of_052(driver):
    # They registered lovely.remotetask.xmlrpc's class by themselves.
    xmlconfig.string('''
        <configure xmlns="http://namespaces.zope.org/xmlrpc"
                   i18n_domain="test">
          <include package="zope.app.publisher" file="meta.zcml"
                   xmlns="http://namespaces.zope.org/zope" />
          <view for="lovely.remotetask.interfaces.ITaskService"
                name="own"
                class="lovely.remotetask.xmlrpc.RemoteTaskServiceXMLRPCAPI"
                methods="getAvailableTasks add getStatus getResult"
                permission="zope.View" />
        </configure>''')
    jobid, = xmlrpc.client.loads(call(driver, 'own.add', 'echo', {'a': 1}))[0]
    assert xmlrpc.client.loads(call(driver, 'own.getAvailableTasks'))[0] == (
        ['echo'],)
    driver.run()
    assert xmlrpc.client.loads(call(driver, 'own.getResult', jobid))[0] == (
        {'a': 1},)
    # Their permission is one, and that of the class another.
    assert call(driver, 'own.add', 'echo', user='guest') == 401
    assert call(driver, 'own.getStatus', jobid, user='guest') != 401
    assert driver.count() == 1


READING = {'getAvailableTasks': (), 'getStatus': (int,), 'getResult': (int,),
           'getError': (int,), 'listMethods': (), 'methodHelp': ('add',),
           'methodSignature': ('add',)}
WRITING = {'add': ('echo',), 'cancel': (int,)}


@pytest.mark.parametrize('user, may', [
    (None, {}), ('guest', READING), ('jane', READING | WRITING),
    ('mgr', READING | WRITING)])
def test_who_may_do_what(driver, user, may):
    # A visitor, who may see the site, reads no status, result or error.
    jobid = driver.add('zope.jane', 'echo')
    for name, arguments in (READING | WRITING).items():
        answer = call(driver, name, *[
            jobid if one is int else one for one in arguments], user=user)
        if name in may:
            xmlrpc.client.loads(answer)
        else:
            assert answer == 401, name
    assert driver.count() == 1 + ('add' in may)


def call(driver, name, *arguments, user='jane'):
    """POST a call; the answer's body, or its status if that is not 200."""
    body = xmlrpc.client.dumps(arguments, name).encode()
    said = []
    answer = b''.join(WSGIPublisherApplication(driver.world.database)({
        'wsgi.input': io.BytesIO(body), 'REQUEST_METHOD': 'POST',
        'CONTENT_TYPE': 'text/xml', 'CONTENT_LENGTH': str(len(body)),
        'PATH_INFO': '/site/tasks', 'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80', 'wsgi.url_scheme': 'http',
        'SERVER_PROTOCOL': 'HTTP/1.0',
        **({} if user is None else {
            'HTTP_AUTHORIZATION': 'Basic ' + base64.b64encode(
                f'{user}:pw'.encode()).decode()})},
        lambda status, headers: said.append(int(status.split()[0]))))
    transaction.abort()
    return answer if said == [200] else said[0]

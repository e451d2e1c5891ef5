"""XML-RPC on the service's URL: upstream's methods, and bad input."""

import datetime
import importlib.resources
import time
import xmlrpc.client
from xml.etree import ElementTree

import pytest

from lovely.remotetask import TaskService
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web import xmlrpc_faults
from lovely.remotetask.web.methods import INTROSPECTION
from lovely.remotetask.web.methods import METHODS
from lovely.remotetask.xmlrpc import RemoteTaskServiceXMLRPCAPI

SIX = ['add', 'cancel', 'getAvailableTasks', 'getError', 'getResult',
       'getStatus']

BOMB = b'''<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY lol "lol">
 <!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
 <!ENTITY lol2 "&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;">
 <!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">
 <!ENTITY lol4 "&lol3;&lol3;&lol3;&lol3;&lol3;&lol3;&lol3;&lol3;&lol3;">
 <!ENTITY lol5 "&lol4;&lol4;&lol4;&lol4;&lol4;&lol4;&lol4;&lol4;&lol4;">
 <!ENTITY lol6 "&lol5;&lol5;&lol5;&lol5;&lol5;&lol5;&lol5;&lol5;&lol5;">
 <!ENTITY lol7 "&lol6;&lol6;&lol6;&lol6;&lol6;&lol6;&lol6;&lol6;&lol6;">
 <!ENTITY lol8 "&lol7;&lol7;&lol7;&lol7;&lol7;&lol7;&lol7;&lol7;&lol7;">
]>
<methodCall><methodName>add</methodName><params>
<param><value><string>echo</string></value></param>
<param><value><string>&lol8;</string></value></param>
</params></methodCall>'''


# --- upstream's contract ----------------------------------------------------

def test_available_tasks_are_sorted(web):
    assert web.call('getAvailableTasks') == ['echo', 'error']


def test_a_job_from_add_to_result(web, service):
    jobid = web.call('add', 'echo', {'foo': 'bär'})
    assert web.call('getStatus', jobid) == 'queued'
    assert web.call('getResult', jobid) is None
    assert web.call('getError', jobid) == 'None'
    service(lambda service: service.process())
    assert web.call('getStatus', jobid) == 'completed'
    assert web.call('getResult', jobid) == {'foo': 'bär'}


def test_the_url_with_a_slash_works_too(web):
    body = xmlrpc.client.dumps((), 'listMethods').encode()
    response = web.request('POST', '/tasks/', body, 'text/xml')
    assert xmlrpc.client.loads(response.body)[0] == (SIX,)
    assert response.content_type == 'text/xml'


def test_error_of_a_failed_job(web, service):
    jobid = web.call('add', 'error', {})
    service(lambda service: service.process())
    assert web.call('getError', jobid) == 'An error occurred.'
    assert web.call('getResult', jobid) is None


def test_cancel_gives_true_and_is_silent_about_unknown_ids(web):
    # 0.5.2 did so, and its clients compare the answer.
    jobid = web.call('add', 'echo', {})
    assert web.call('cancel', jobid) is True
    assert web.call('getStatus', jobid) == 'cancelled'
    assert web.call('cancel', jobid) is True
    for unknown in (4711, -1, 'nonsense', None, [1], {'a': 1}, 1.5):
        assert web.call('cancel', unknown) is True


@pytest.mark.parametrize('prefix', ['', 'system.'])
def test_introspection(web, prefix):
    assert web.call(prefix + 'listMethods') == SIX
    assert web.call(prefix + 'methodSignature', 'add') == [
        ['int', 'str', 'dict']]
    assert web.call(prefix + 'methodSignature', 'getAvailableTasks') == [
        ['list']]
    assert 'id' in web.call(prefix + 'methodHelp', 'add')
    with pytest.raises(xmlrpc.client.Fault, match="no method 'nonsense'"):
        web.call(prefix + 'methodHelp', 'nonsense')


@pytest.mark.parametrize('value', [
    None, True, False, 0, -5, 2 ** 31 - 1, 1.5, '', 'bär \u20ac\U0001f600',
    'a\nb\tc', '<&>]]>', b'', b'\x00\xff', [], [[], {}], {},
    {'': {'a': [None]}}, datetime.datetime(2026, 11, 24, 12, 30, 59)])
def test_plain_data_comes_back_as_it_went(web, service, value):
    jobid = web.call('add', 'echo', value)
    service(lambda service: service.process())
    assert web.call('getResult', jobid) == value
    # What is stored is the value and not some wrapper of the protocol.
    stored = service(lambda service: service.jobs[jobid].input)
    assert stored == value
    assert type(stored) is type(value)


def test_carriage_returns_arrive(web, tasks, service):
    """A parser of XML turns them into line feeds unless they are escaped."""
    tasks('odd', SimpleTask(lambda input: 'a\r\nb\rc'))
    jobid = web.call('add', 'odd')
    service(lambda service: service.process())
    assert web.call('getResult', jobid) == 'a\r\nb\rc'


# --- errors are Faults ------------------------------------------------------

def test_unknown_task(web, service):
    with pytest.raises(xmlrpc.client.Fault,
                       match='ValueError: Task does not exist'):
        web.call('add', 'no such task', {})
    assert service(lambda service: list(service.jobs)) == []


def test_a_task_that_is_not_remote_does_not_exist_from_outside(web, service):
    with pytest.raises(xmlrpc.client.Fault,
                       match='ValueError: Task does not exist'):
        web.call('add', 'hidden', {})
    assert service(lambda service: list(service.jobs)) == []
    assert 'hidden' not in web.call('getAvailableTasks')


@pytest.mark.parametrize('method', ['getStatus', 'getResult', 'getError'])
def test_unknown_job_id_is_named(web, method):
    with pytest.raises(xmlrpc.client.Fault, match='4711'):
        web.call(method, 4711)


@pytest.mark.parametrize('jobid', [None, 'x', [], {}, 1.5, True, '²'])
def test_something_that_is_no_job_id(web, jobid):
    with pytest.raises(xmlrpc.client.Fault, match='whole number'):
        web.call('getStatus', jobid)


@pytest.mark.parametrize('jobid', [str(2 ** 63 - 1), str(2 ** 31), '-1'])
def test_ids_out_of_range_are_unknown_or_refused(web, jobid):
    with pytest.raises(xmlrpc.client.Fault, match=jobid):
        web.call('getStatus', jobid)


@pytest.mark.parametrize('number', [
    '<i8>1' + '0' * 400 + '</i8>', '<int>' + '9' * 5000 + '</int>',
    '<double>nan</double>', '<double>1e999</double>'], ids=lambda x: x[:12])
@pytest.mark.parametrize('method', ['getStatus', 'getResult', 'getError',
                                    'cancel', 'add'])
def test_a_number_without_bounds_is_a_readable_fault(web, method, number):
    body = (f'<methodCall><methodName>{method}</methodName><params><param>'
            f'<value>{number}</value></param></params></methodCall>').encode()
    answer = web.request('POST', '/tasks', body, 'text/xml').body
    assert b'the server failed' not in answer
    assert method == 'cancel' or b'<fault>' in answer


def test_unknown_method_names_those_there_are(web):
    with pytest.raises(xmlrpc.client.Fault, match='getAvailableTasks'):
        web.call('process')


@pytest.mark.parametrize('arguments', [
    (), (1, 2, 3, 4), ('echo', 1, 'key', 2)])
def test_wrong_number_of_arguments(web, arguments):
    with pytest.raises(xmlrpc.client.Fault, match='argument'):
        web.call('add', *arguments)


def test_task_name_of_another_type(web):
    with pytest.raises(xmlrpc.client.Fault, match='has to be a name'):
        web.call('add', 5, {})


def test_a_fault_of_the_program_is_logged_and_not_shown(web, tasks, service,
                                                        caplog, monkeypatch):
    def broken(self, jobid):
        raise LookupError('/secret/path')

    monkeypatch.setattr(TaskService, 'getStatus', broken)
    with pytest.raises(xmlrpc.client.Fault) as caught:
        web.call('getStatus', 1)
    assert 'secret' not in caught.value.faultString
    assert 'log' in caught.value.faultString
    assert '/secret/path' in caplog.text


# --- what XML-RPC cannot carry ----------------------------------------------

class Something:
    """A result that is no plain data."""


@pytest.mark.parametrize(('result', 'reason'), [
    (Something(), 'Something is not plain data'),
    ({1: 2}, 'dictionary key 1'),
    ({'a': {'b': {3, 4}}}, 'set is not plain data'),
    (float('nan'), 'finite'),
    ('a\x00b', 'XML cannot carry'),
    ('\ud800', 'XML cannot carry'),
    (2 ** 64, '64 bits'),
    (10 ** 5000, 'digits'),
    (datetime.datetime.max.replace(tzinfo=datetime.timezone(
        datetime.timedelta(hours=-12))), 'UTC'),
], ids='{0.__class__.__name__}'.format)
def test_a_result_that_cannot_be_sent_is_a_fault_and_harms_no_job(
        web, tasks, service, result, reason):
    tasks('odd', SimpleTask(lambda input: result))
    jobid = web.call('add', 'odd')
    service(lambda service: service.process())
    with pytest.raises(xmlrpc.client.Fault, match=reason):
        web.call('getResult', jobid)
    assert web.call('getStatus', jobid) == 'completed'


def test_integers_over_31_bits_are_sent_as_i8(web, tasks, service):
    """Fault of 0.5.2: such integers, and 64-bit ids, were a fault."""
    tasks('big', SimpleTask(lambda input: [2 ** 31, -2 ** 63]))
    jobid = web.call('add', 'big')
    service(lambda service: service.process())
    assert web.call('getResult', jobid) == [2 ** 31, -2 ** 63]
    body = xmlrpc_calls.dump(2 ** 40)
    assert b'<i8>1099511627776</i8>' in body
    assert b'<int>5</int>' in xmlrpc_calls.dump(5)


def test_i8_is_accepted(web, service):
    body = (b'<methodCall><methodName>add</methodName><params><param><value>'
            b'<string>echo</string></value></param><param><value><i8>'
            b'1099511627776</i8></value></param></params></methodCall>')
    (jobid,), _ = xmlrpc.client.loads(web.xml(body))
    assert service(lambda service: service.jobs[jobid].input) == 2 ** 40


def test_digits_are_an_id(web):
    """Python's own client cannot send an int over 31 bits."""
    jobid = web.call('add', 'echo', {})
    assert web.call('getStatus', str(jobid)) == 'queued'
    assert web.call('cancel', str(jobid)) is True
    assert web.call('getStatus', jobid) == 'cancelled'


def test_error_text_that_xml_cannot_carry_is_cleaned():
    body = xmlrpc_faults.dump_fault(1, 'a\x1bb')
    with pytest.raises(xmlrpc.client.Fault, match='a\ufffdb'):
        xmlrpc.client.loads(body)


def test_input_nested_too_deeply_is_refused(web, service):
    value: object = 'bottom'
    for _ in range(33):
        value = [value]
    with pytest.raises(xmlrpc.client.Fault, match='32 levels'):
        web.call('add', 'echo', value)
    assert service(lambda service: list(service.jobs)) == []
    assert web.call('add', 'echo', value[0]) >= 0


# --- hostile bodies ---------------------------------------------------------

def test_entity_bomb_is_refused_without_load(web, service):
    started = time.process_time()
    assert 'DOCTYPE' in web.fault(BOMB)
    assert time.process_time() - started < 0.5
    assert service(lambda service: list(service.jobs)) == []


@pytest.mark.parametrize('body', [
    b'<!DOCTYPE x><methodCall><methodName>listMethods</methodName>'
    b'</methodCall>',
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodCall><methodName>'
    b'listMethods</methodName></methodCall>',
    # A search for the text would not see it in this encoding.
    '<!DOCTYPE x><methodCall><methodName>listMethods</methodName>'
    '</methodCall>'.encode('utf-16'),
], ids=['plain', 'external', 'utf-16'])
def test_any_document_type_is_refused(web, body):
    assert 'DOCTYPE' in web.fault(body)


@pytest.mark.parametrize('body', [
    b'', b'nonsense', b'<', b'<a></b>', b'\x00', b'<a>\xff</a>',
    b'<methodCall><methodName>x</methodName>'])
def test_malformed_xml_is_a_readable_fault(web, body):
    assert 'not well-formed' in web.fault(body)


@pytest.mark.parametrize('body', [
    b'<a/>', b'<methodCall/>', b'<params/>', b'<struct/>',
    b'<methodCall><methodName></methodName></methodCall>',
    b'<methodCall><params/><methodName>add</methodName><params><param>'
    b'<value><int>x</int></value></param></params></methodCall>',
    b'<methodCall><methodName>add</methodName><params><param><value><int>'
    + b'9' * 5000 + b'</int></value></param></params></methodCall>',
    b'<fault><value><struct/></value></fault>',
    b'<methodResponse><fault><value><int>1</int></value></fault>'
    b'</methodResponse>',
    b'<methodCall><methodName>add</methodName><params><param><value>'
    b'<struct><member><value>1</value></member></struct></value></param>'
    b'</params></methodCall>',
    b'<methodCall><methodName>add</methodName><params><param><value>'
    b'<dateTime.iso8601>never</dateTime.iso8601></value></param></params>'
    b'</methodCall>'])
def test_xml_that_is_no_call_is_a_readable_fault(web, body):
    assert 'XML-RPC call' in web.fault(body)


def test_a_hundred_thousand_levels_cost_nothing(web):
    deep = b'<value><array><data>' * 30_000
    body = (b'<methodCall><methodName>add</methodName><params><param>'
            b'<value>echo</value></param><param>' + deep
            + b'</data></array></value>' * 30_000
            + b'</param></params></methodCall>')
    started = time.process_time()
    # Over the limit of a body; so give it to the parser itself.
    name, _ = xmlrpc_calls.parse(body)
    assert name == 'add'
    with pytest.raises(xmlrpc.client.Fault, match='32 levels'):
        xmlrpc.client.loads(xmlrpc_calls.respond(
            body, lambda function, writes: function(TaskService())))
    assert time.process_time() - started < 2


# --- the view for hosts -----------------------------------------------------

def test_the_view_works_without_any_host(tasks):
    service = TaskService()
    view = RemoteTaskServiceXMLRPCAPI(service, None)
    assert view.getAvailableTasks() == ['echo', 'error']
    jobid = view.add('echo', {'a': xmlrpc.client.Binary(b'x'),
                              'b': xmlrpc.client.DateTime('20261124T12:00:00')
                              })
    # A host's publisher passes its wrappers on; they must not be stored.
    assert service.jobs[jobid].input == {
        'a': b'x', 'b': datetime.datetime(2026, 11, 24, 12)}
    assert view.getStatus(jobid) == 'queued'
    service.process()
    assert view.getResult(jobid) == service.jobs[jobid].input
    assert view.getError(jobid) == 'None'
    assert view.cancel(jobid) is True
    assert view.listMethods() == SIX
    with pytest.raises(ValueError, match='^Task does not exist$'):
        view.add('nonsense')
    with pytest.raises(KeyError):
        view.getStatus(4711)


def test_the_view_has_help_for_each_method():
    for name in SIX:
        assert getattr(RemoteTaskServiceXMLRPCAPI, name).__doc__


def test_the_zcml_for_the_ztk_names_each_method():
    file = importlib.resources.files('lovely.remotetask.ztk') / 'xmlrpc.zcml'
    views = {
        view.get('permission'): view.get('methods').split()
        for view in ElementTree.fromstring(file.read_text()).iter(
            '{http://namespaces.zope.org/xmlrpc}view')}
    writing = [name for name, method in METHODS.items() if method.writes]
    assert views == {
        'lovely.remotetask.View': [
            *(name for name in METHODS if name not in writing),
            *INTROSPECTION],
        'lovely.remotetask.Add': writing}


def test_a_key_as_third_argument(web):
    jobid = web.call('add', 'echo', 1, 'a')
    assert web.call('add', 'echo', 2, 'a') == jobid
    assert web.call('add', 'echo', 2, 'b') != jobid
    with pytest.raises(xmlrpc.client.Fault, match='1 to 200 characters'):
        web.call('add', 'echo', 3, '')

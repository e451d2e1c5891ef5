"""Tasks: made of functions, found by scan, checked by their schemas."""

import functools
import pickle
import sys
import types

import pytest
import zope.component
from persistent.mapping import PersistentMapping
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface import Invalid
from zope.interface.registry import Components
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject
from zope.schema import Choice
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask import errors
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.task import check_against
from lovely.remotetask.task import marks
from lovely.remotetask.task import scan
from lovely.remotetask.task import task
from lovely.remotetask.task import task_option


class Tasks(types.ModuleType):
    """A module of tasks, by the text of its source."""

    def __init__(self, source, name='the_tasks'):
        super().__init__(name)
        exec(source, self.__dict__)


@pytest.fixture
def registry():
    return Components()


def names(registry):
    return {name: utility.func.__name__
            for name, utility in registry.getUtilitiesFor(ITask)}


# --- the names of 0.5.2 ------------------

def test_simple_task():
    made = SimpleTask(len)
    assert repr(made) == '<SimpleTask <built-in function len>>'
    assert made(None, 1, 'four') == 4
    assert made.inputSchema is made.outputSchema is None


def test_echo_task():
    made = EchoTask()
    assert repr(made) == '<EchoTask>'
    value = object()
    assert made(None, 1, value) is value


def test_a_subclass_shows_its_own_name():
    class Shout(SimpleTask):
        pass

    assert repr(Shout(len)) == '<Shout <built-in function len>>'


def f(input):
    return [input]


def whole(service, jobid, input):
    return service, jobid, input


@pytest.mark.parametrize('made', [
    SimpleTask(f), EchoTask(), FunctionTask(f), FunctionTask(whole)])
def test_tasks_verify(made):
    assert verifyObject(ITask, made)
    assert verifyClass(ITask, type(made), tentative=True)


@pytest.mark.parametrize('name', ['TaskError', 'SimpleTask', 'EchoTask'])
def test_names_in_old_databases(name):
    # Pickled by reference: the opcode of a global is module, name.
    stored = f'clovely.remotetask.task\n{name}\n.'.encode()
    found = pickle.loads(stored)
    assert found.__module__ == 'lovely.remotetask.task'
    assert pickle.loads(pickle.dumps(found, 3)) is found


def test_there_is_one_task_error():
    assert TaskError is errors.TaskError


@pytest.mark.parametrize('protocol', [2, 3, 5])
def test_tasks_can_be_pickled(protocol, monkeypatch):
    # A local utility is stored with the site manager that holds it.
    module = Tasks('def upper(text): return text.upper()', 'pickled_tasks')
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for made in (SimpleTask(module.upper),
                 FunctionTask(module.upper, retry=NO_RETRY)):
        made.inputSchema = TextLine()
        copy = pickle.loads(pickle.dumps(made, protocol))
        assert copy.func is module.upper
        assert copy(None, 1, 'a') == 'A'
        assert type(copy.inputSchema) is TextLine
    assert copy.retry == NO_RETRY


# --- @task ------------------

def test_the_function_stays_what_it_was(monkeypatch):
    module = Tasks('def upper(text):\n    "Doc."\n    return text.upper()',
                   'marked_tasks')
    monkeypatch.setitem(sys.modules, module.__name__, module)
    upper = module.upper
    assert task('shout', timeout=3)(upper) is upper
    assert upper('a') == 'A'
    assert upper.__doc__ == 'Doc.'
    assert pickle.loads(pickle.dumps(upper)) is upper


def test_with_and_without_parentheses_and_name():
    @task
    def one(input):
        pass

    @task()
    def two(input):
        pass

    @task('drei')
    def three(input):
        pass

    @task(name='vier', timeout=2)
    def four(input):
        pass

    found = [name for func in (one, two, three, four)
             for name, _ in marks(func)]
    assert found == ['one', 'two', 'drei', 'vier']
    assert marks(f) == ()


@pytest.mark.parametrize('func, result', [
    (lambda input: ('I', input), ('I', 3)),
    (lambda input, more=7: ('I', input, more), ('I', 3, 7)),
    (lambda input, *more: ('I', input, more), ('I', 3, ())),
    (lambda input, *, key=1: ('I', input), ('I', 3)),
    (lambda input, **more: ('I', input, more), ('I', 3, {})),
    (lambda input, /: ('I', input), ('I', 3)),
    (lambda s, j, i: (s, j, i), ('S', 2, 3)),
    (lambda s, j, i, more=7: (s, j, i, more), ('S', 2, 3, 7)),
])
def test_required_positional_arguments_are_counted(func, result):
    assert FunctionTask(func)('S', 2, 3) == result


async def coroutine(input):
    pass


def generator(input):
    yield input


@pytest.mark.parametrize('func', [
    lambda: None, lambda a, b: None, lambda a, b, c, d: None,
    lambda *all: None, lambda input, *, key: None,
    lambda service, jobid, *, input: None, coroutine, generator])
def test_other_functions_are_refused_at_decoration(func):
    with pytest.raises(TypeError, match='cannot be a task'):
        task('name')(func)


@pytest.mark.parametrize('thing', [
    len, functools.partial(f), EchoTask(), EchoTask, 5])
def test_other_things_are_refused_at_decoration(thing):
    with pytest.raises(TypeError, match='ITask utility'):
        task('name')(thing)


@pytest.mark.parametrize('name', [5, b'bytes', ['list']])
def test_a_name_is_a_str(name):
    with pytest.raises(TypeError, match='name of a task'):
        task(name)


@pytest.mark.parametrize('options, named', [
    ({'retries': 3}, 'unknown task option retries'),
    ({'a': 1, 'b': 2}, 'unknown task option a, b'),
    ({'retry': 3}, 'retry is 3'),
    ({'timeout': 0}, 'timeout is 0'),
    ({'timeout': True}, 'timeout is True'),
    ({'timeout': float('nan')}, 'timeout is nan'),
    ({'groupable': 1}, 'groupable is 1'),
    ({'remote': 'no'}, "remote is 'no'"),
    ({'timeout': 1e10}, 'timeout is 1'),
    ({'timeout': 10**5000}, 'timeout is a value'),
    ({'limit': 1}, 'limit does not exist yet: leave it out'),
    ({'limit': None}, 'limit does not exist yet: leave it out'),
    ({'inputSchema': str}, 'inputSchema is'),
])
def test_options_that_tasks_do_not_have(options, named):
    with pytest.raises(TypeError, match=named):
        task(**options)(f)
    assert not marks(f)


# --- options ------------------

def test_options_reach_the_task():
    schema = TextLine()
    made = FunctionTask(f, retry=NO_RETRY, timeout=2.5, groupable=True,
                        remote=False, inputSchema=schema,
                        outputSchema=ITask)
    assert [task_option(made, name) for name in
            ('retry', 'timeout', 'groupable', 'remote')] == [
        NO_RETRY, 2.5, True, False]
    assert made.inputSchema is schema and made.outputSchema is ITask


@pytest.mark.parametrize('made', [EchoTask(), SimpleTask(f), None])
def test_a_task_of_0_5_2_has_the_default_of_each_option(made):
    found = {name: task_option(made, name) for name in ITaskOptions.names()}
    assert found == {'retry': None, 'timeout': None, 'groupable': False,
                     'remote': None, 'on_error': None}


def test_an_option_that_does_not_exist():
    with pytest.raises(KeyError):
        task_option(EchoTask(), 'colour')


# --- scan ------------------

def test_scan_registers_what_is_marked(registry):
    module = Tasks('''
from lovely.remotetask.task import task
@task('b')
def first(input): pass
@task
def a(service, jobid, input): pass
def plain(input): pass
''')
    assert scan(module, registry) == ['a', 'b']
    assert names(registry) == {'a': 'a', 'b': 'first'}


def test_scan_uses_the_current_registry():
    module = Tasks('from lovely.remotetask.task import task\n'
                   '@task\ndef scanned(input): return 5')
    zope.component.getSiteManager().unregisterUtility(
        provided=ITask, name='scanned')
    scan(module)
    try:
        assert zope.component.getUtility(ITask, 'scanned')(None, 1, 0) == 5
    finally:
        zope.component.getSiteManager().unregisterUtility(
            provided=ITask, name='scanned')


def test_scan_leaves_out_what_is_only_imported(registry, monkeypatch):
    module = Tasks('from lovely.remotetask.task import task\n'
                   '@task\ndef theirs(input): pass', 'their_tasks')
    monkeypatch.setitem(sys.modules, 'their_tasks', module)
    mine = Tasks('from their_tasks import theirs')
    assert scan(mine, registry) == []
    assert names(registry) == {}


def test_two_tasks_of_one_name_are_an_error(registry):
    module = Tasks('''
from lovely.remotetask.task import task
@task('other')
def before(input): pass
@task('same')
def one(input): pass
@task('same')
def two(input): pass
''')
    with pytest.raises(ConfigurationError) as caught:
        scan(module, registry)
    for part in ("'same'", 'function one', 'function two', 'the_tasks'):
        assert part in str(caught.value)
    # All or nothing.
    assert names(registry) == {}


def test_one_task_under_two_names_in_the_module(registry):
    module = Tasks('''
import functools
from lovely.remotetask.task import task
@task
def one(input): return 1
alias = one
@functools.wraps(one)
def logged(input): return one(input)
''')
    assert scan(module, registry) == ['one']


def test_one_function_as_two_tasks(registry):
    module = Tasks('''
from lovely.remotetask.task import task
@task('slow', timeout=60)
@task('quick', timeout=1)
def work(input): pass
''')
    assert scan(module, registry) == ['quick', 'slow']
    assert registry.getUtility(ITask, 'quick').timeout == 1
    assert registry.getUtility(ITask, 'slow').timeout == 60


def test_scanning_again_changes_nothing(registry):
    module = Tasks('from lovely.remotetask.task import task\n'
                   '@task\ndef one(input): pass')
    scan(module, registry)
    assert scan(module, registry) == ['one']
    assert len(list(registry.registeredUtilities())) == 1


# --- check_against ------------------

def short(value):
    if len(value) > 5:
        raise Invalid('too long for us')
    return True


class IInput(Interface):

    title = TextLine(constraint=short)
    size = Int(min=1, required=False)
    kind = Choice(values=('a', 'b'), required=False)
    remark = Attribute('Not checked.')

    def render():
        """Not checked."""


class Input:

    def __init__(self, **fields):
        self.__dict__.update(fields)


@pytest.mark.parametrize('make', [dict, Input, PersistentMapping])
@pytest.mark.parametrize('fields, wrong', [
    ({'title': 'x'}, []),
    ({'title': 'x', 'size': 1, 'kind': 'a'}, []),
    ({'title': 'x', 'size': None}, []),
    ({'title': 'x', 'unknown': 5, 'remark': 5}, []),
    ({}, ['title']),
    ({'title': None}, ['title']),
    ({'title': b'x', 'size': 0, 'kind': 'c'}, ['title', 'size', 'kind']),
    ({'size': 'x'}, ['title', 'size']),
    ({'title': 'much too long'}, ['title']),
])
def test_an_interface_names_keys_or_attributes(make, fields, wrong):
    found = check_against(IInput, make(**fields))
    assert [sentence.split()[0] for sentence in found] == wrong


def test_the_sentences():
    assert check_against(IInput, {'size': 0}) == [
        'title is missing', 'size is 0: Value is too small']
    assert check_against(IInput, {'title': 'much too long'}) == [
        "title is 'much too long': too long for us"]


@pytest.mark.parametrize('value', [None, 5, object(), []])
def test_a_value_without_any_of_it(value):
    assert check_against(IInput, value) == ['title is missing']


def test_a_field_checks_the_value_itself():
    schema = Int(min=3)
    assert check_against(schema, 3) == []
    assert check_against(schema, 2) == ['the value is 2: Value is too small']
    wrong, = check_against(IInput['size'], 'x')
    assert wrong.startswith("size is 'x'")
    missing, = check_against(schema, None)
    assert missing.startswith('the value is None')


def test_no_schema_takes_everything():
    assert check_against(None, object()) == []


def test_what_is_no_schema_says_so():
    wrong, = check_against('IInput', {})
    assert "'IInput' is neither a field nor an interface" in wrong


def test_fields_of_base_interfaces_count():
    class IMore(IInput):
        more = Int()

    assert check_against(IMore, {'title': 'x'}) == ['more is missing']


def test_a_huge_value_makes_a_short_message():
    wrong, = check_against(Int(), 'x' * 10**6)
    assert len(wrong) < 200

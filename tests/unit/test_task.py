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
from lovely.remotetask.declaring.signatures import signature_of
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.task import check_against
from lovely.remotetask.task import marks
from lovely.remotetask.task import misfits
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
    (lambda input, /: ('I', input), ('I', 3)),
    (lambda s, j, i: (s, j, i), ('S', 2, 3)),
])
def test_required_positional_arguments_are_counted(func, result):
    assert FunctionTask(func)('S', 2, 3) == result


async def coroutine(input):
    pass


def generator(input):
    yield input


@pytest.mark.parametrize('func', [
    lambda *all: None, lambda a, b, *all: None,
    lambda service, jobid: None, lambda service, jobid, input, more: None,
    lambda service, jobid, *, input: None, coroutine, generator])
def test_other_functions_are_refused_at_decoration(func):
    with pytest.raises(TypeError, match='cannot be a task'):
        task('name')(func)


@pytest.mark.parametrize('func, input, extra', [
    (lambda input, width=100: None, 'input', 'width'),
    (lambda input=None, width=100: None, 'input', 'width'),
    (lambda input, /, width=100, *, key=1: None, 'input', 'width, key'),
    (lambda input, *more: None, 'input', '*more'),
    (lambda input, **more: None, 'input', '**more'),
    (functools.partial(lambda input, width: None, width=5), 'input', 'width'),
    (lambda s, j, i, more=7: None, 'i', 'more'),
    (lambda service, jobid, input, *, more=7: None, 'input', 'more'),
    (lambda service, jobid, input, *more, **others: None, 'input',
     '*more, **others'),
])
def test_a_parameter_that_no_job_could_give_is_refused(func, input, extra):
    with pytest.raises(TypeError) as caught:
        FunctionTask(func)
    assert str(caught.value).startswith(
        f'{func!r} cannot be a task: the whole input of a job goes to its '
        f'parameter {input}, and nothing to {extra}; leave out {extra}')


def test_a_builtin_that_tells_no_parameters_is_refused():
    # As a decorator's mistake: at the line that declares it.
    with pytest.raises(TypeError) as caught:
        FunctionTask(max)
    assert str(caught.value) == (
        '<built-in function max> cannot be a task: it does not tell its '
        'parameters; write a function that calls it')
    assert FunctionTask(lambda numbers: max(numbers))(None, 1, [1, 3]) == 3


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
    ({'retry': -1}, 'retry: retries is -1; give a whole number'),
    ({'retry': True}, 'retry is True'),
    ({'retry': 2.0}, 'retry is 2.0'),
    ({'retry': '3'}, "retry is '3'"),
    ({'timeout': 0}, 'timeout is 0'),
    ({'timeout': True}, 'timeout is True'),
    ({'timeout': float('nan')}, 'timeout is nan'),
    ({'groupable': 1}, 'groupable is 1'),
    ({'remote': 'no'}, "remote is 'no'"),
    ({'timeout': 1e10}, 'timeout is 1'),
    ({'timeout': 10**5000}, 'timeout is a value'),
    ({'limit': 0}, 'the task option limit is 0; it must be a whole number'),
    ({'rate': (1, 0)}, r'rate is \(1, 0\); it must be a pair'),
    ({'inputSchema': str}, 'inputSchema is'),
])
def test_options_that_tasks_do_not_have(options, named):
    with pytest.raises(TypeError, match=named):
        task(**options)(f)
    assert not marks(f)


# --- parameters of a function's own ------------------

def resize(source, width=100):
    return source, width


def crop(source, left, top):
    return source, left, top


def by_position(a, b=2, /, c=3, *, d):
    return a, b, c, d


def open_to_more(source, **others):
    return source, others


@pytest.mark.parametrize('func, input, result', [
    (lambda: 'ran', None, 'ran'),
    (lambda: 'ran', {}, 'ran'),
    (lambda width=5: width, None, 5),
    (lambda width=5: width, {'width': 6}, 6),
    (resize, {'source': 'a'}, ('a', 100)),
    (resize, PersistentMapping(source='a', width=5), ('a', 5)),
    (crop, {'top': 3, 'left': 2, 'source': 1}, (1, 2, 3)),
    (lambda service, source: (service, source),
     {'service': 'mail', 'source': 1}, ('mail', 1)),
    (lambda input, *, key: (input, key), {'input': 1, 'key': 2}, (1, 2)),
    (lambda *, width: width, {'width': 6}, 6),
    (by_position, {'a': 1, 'd': 4}, (1, 2, 3, 4)),
    (by_position, {'d': 4, 'c': 7, 'b': 8, 'a': 1}, (1, 8, 7, 4)),
    (open_to_more, {'source': 1, 'self': 2}, (1, {'self': 2})),
    (lambda **all: all, {'a': 1}, {'a': 1}),
    (lambda **all: all, None, {}),
    (lambda a, /, **all: (a, all), {'a': 1, 'b': 2}, (1, {'b': 2})),
    (lambda *, input: input, {'input': 1}, 1),
])
def test_a_mapping_fills_the_parameters(func, input, result):
    made = FunctionTask(func)
    assert misfits(made, input) == []
    assert made('S', 2, input) == result


@pytest.mark.parametrize('func, input, wrong', [
    (lambda: None, 5, ['the input is 5, and the task takes none']),
    (lambda: None, {'a': 1}, ["'a' is no parameter (there are: no "
                              "parameters)"]),
    (resize, None, ['source is missing']),
    (resize, 'a.png', [
        "the input is 'a.png'; give a mapping with a value for each "
        "parameter (source, width=...)"]),
    (resize, {}, ['source is missing']),
    (resize, {'sorce': 1, 5: 2}, [
        'source is missing',
        "'sorce' is no parameter (there are: source, width=...)",
        '5 is no parameter (there are: source, width=...)']),
    (crop, {'left': 1}, ['source is missing', 'top is missing']),
    (by_position, {'c': 1}, ['a is missing', 'd is missing']),
    (lambda a=1, b=2, /: None, {'b': 3}, [
        'of a, b, which the function takes by position alone, one is left '
        'out before another']),
    (open_to_more, {'more': 1, 5: 1}, [
        'source is missing',
        '5 is no parameter (there are: source, **others)']),
    (lambda **all: None, 5, [
        'the input is 5; give a mapping with a value for each parameter '
        '(**all)']),
])
def test_all_that_does_not_fit_is_named(func, input, wrong):
    made = FunctionTask(func)
    assert misfits(made, input) == wrong
    # A job of an earlier release, whose function had other parameters.
    with pytest.raises(TaskError) as caught:
        made('S', 2, input)
    assert all(part in str(caught.value) for part in wrong)


def test_a_client_that_sends_many_keys_gets_a_short_answer():
    found = misfits(FunctionTask(resize), dict.fromkeys(
        ['source', *(f'{number:0900}' for number in range(1000))]))
    assert len(found) == 21
    assert found[-1] == '980 more keys are no parameters'
    assert len('; '.join(found)) < 4000


def test_tasks_that_take_any_input():
    for made in (FunctionTask(f), FunctionTask(whole), EchoTask(),
                 SimpleTask(resize)):
        assert misfits(made, object()) == []


def test_an_attribute_of_an_application_s_class_is_no_signature():
    class Signed(EchoTask):
        signature = 'by hand'

    assert misfits(Signed(), 5) == []


def test_a_stored_task_sees_the_parameters_of_today(monkeypatch):
    module = Tasks('def work(source): return source', 'stored_tasks')
    monkeypatch.setitem(sys.modules, module.__name__, module)
    stored = pickle.dumps(FunctionTask(module.work), 3)
    exec('def work(source, width): return source, width', vars(module))
    made = pickle.loads(stored)
    assert misfits(made, {'source': 1}) == ['width is missing']
    assert made(None, 1, {'source': 1, 'width': 2}) == (1, 2)


@pytest.mark.parametrize('func, args, kwargs, bound', [
    (resize, ('a',), {'width': 5}, {'source': 'a', 'width': 5}),
    (resize, ('a', 5), {}, {'source': 'a', 'width': 5}),
    (resize, (), {'source': 'a'}, {'source': 'a'}),
    (lambda: None, (), {}, None),
    (open_to_more, ('a',), {'b': 1}, {'source': 'a', 'b': 1}),
    (f, ({'k': 1},), {}, {'k': 1}),
    (f, (), {'input': 5}, 5),
    (whole, (5,), {}, 5),
    (lambda s, j, picture: None, (), {'picture': 5}, 5),
    (lambda input=None: None, (), {}, None),
])
def test_the_input_that_stands_for_a_call(func, args, kwargs, bound):
    assert signature_of(func).bind(args, kwargs) == (bound, [])


@pytest.mark.parametrize('func, args, kwargs, wrong', [
    (resize, (1, 2, 3), {'width': 4, 'colour': 5}, [
        '3 values by position are too many: at most 2 (source, width=...)',
        'width is given twice',
        "'colour' is no parameter (there are: source, width=...)"]),
    (resize, (), {}, ['source is missing']),
    (lambda: None, (1,), {}, ['1 values by position are too many: at most 0 '
                              '(no parameters)']),
    (f, (1, 2), {}, ['2 values by position are too many: at most 1 '
                     '(input)']),
    (f, (), {}, ['input is missing']),
    (lambda input: None, (1,), {'more': 2}, [
        "'more' is no parameter (there are: input)"]),
    (whole, (), {'jobid': 5}, ["'jobid' is no parameter (there are: input)",
                               'input is missing']),
])
def test_a_call_that_does_not_fit(func, args, kwargs, wrong):
    assert signature_of(func).bind(args, kwargs)[1] == wrong


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


def test_a_number_of_retries_is_short_for_a_policy():
    @task(retry=3)
    def three(input):
        pass

    (_, made), = marks(three)
    assert made.retry == RetryPolicy(3)
    assert FunctionTask(f, retry=0).retry == NO_RETRY
    assert FunctionTask(f, retry=None).retry is None


@pytest.mark.parametrize('made', [EchoTask(), SimpleTask(f), None])
def test_a_task_of_0_5_2_has_the_default_of_each_option(made):
    found = {name: task_option(made, name) for name in ITaskOptions.names()}
    assert found == {'retry': None, 'timeout': None, 'groupable': False,
                     'remote': None, 'on_error': None, 'show': None,
                     'limit': None, 'rate': None, 'keyLimit': None,
                     'queue': None, 'keep': None, 'schedule': None}


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

"""The ZCML of the package: what it registers, and with how little."""

import subprocess
import sys
import types

import pytest
import transaction
import zope.component
from zope.annotation.interfaces import IAttributeAnnotatable
from zope.configuration import xmlconfig
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.interface import implementer
from zope.interface import provider
from zope.processlifetime import DatabaseOpenedWithRoot

from lovely.remotetask import TaskService
from lovely.remotetask.commands import CommandTask
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.startup import bootStrapSubscriber
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import shown_keys
from lovely.remotetask.task import task
from lovely.remotetask.task import task_option

WRAPPER = '''
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:remotetask="http://namespaces.zope.org/remotetask"
           i18n_domain="test">
  <include package="lovely.remotetask" />
  {}
</configure>
'''


def configure(directives=''):
    return xmlconfig.string(WRAPPER.format(directives))


def directive(handler, rest='', name='it'):
    # Handlers are found by name, as in every application.
    return (f'<remotetask:task name="{name}" '
            f'handler="{HANDLERS}.{handler}" {rest} />')


def call(name='it', input='abc'):
    return zope.component.getUtility(ITask, name)(None, 7, input)


@pytest.fixture(autouse=True)
def registries(components):
    """Empty ones: each test configures for itself."""


# --- handlers ----------------------------------------------------------------

HANDLERS = 'zcml_handlers'


def shout(text):
    return text.upper()


def number(service, jobid, input):
    return jobid


@task('first', timeout=5, groupable=True)
@task('second', timeout=6)
def marked(input):
    return 'marked'


@implementer(ITask)
class Greeting:
    inputSchema = outputSchema = None

    def __init__(self, word='hello'):
        self.word = word

    def __call__(self, service, jobid, input):
        return f'{self.word} {input}'


@implementer(ITask)
def factory():
    return Greeting('made')


@implementer(ITask)
def wrong_factory():
    return 'a str'


class NeedsWord(Greeting):
    def __init__(self, word):
        self.word = word


class NoTask:
    def __call__(self, input):
        return input


@provider(ITask)
class ClassAsTask:
    inputSchema = outputSchema = None

    def __new__(cls, service, jobid, input):
        return f'class {input}'


@implementer(ITask)
class Slotted:
    __slots__ = ()

    def __call__(self, service, jobid, input):
        return input


greeting = Greeting('instance')
command = CommandTask(['true'])
slotted = Slotted()
text = 'no handler'
calls = []


def takes_a_list(*all):
    calls.append(1)


async def later(input):
    return input


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """This module under a name that ZCML can import."""
    module = types.ModuleType(HANDLERS)
    vars(module).update(globals())
    monkeypatch.setitem(sys.modules, HANDLERS, module)


@pytest.mark.parametrize('handler, result', [
    ('shout', 'ABC'),
    ('number', 7),
    ('marked', 'marked'),
    ('Greeting', 'hello abc'),
    ('factory', 'made abc'),
    ('greeting', 'instance abc'),
    ('ClassAsTask', 'class abc'),
])
def test_handlers(handler, result):
    configure(directive(handler))
    assert call() == result


@pytest.mark.parametrize('handler, reason', [
    ('text', 'is neither a function nor an ITask'),
    ('takes_a_list', r'none for \*all'),
    ('later', 'use a plain function'),
    ('wrong_factory', "makes 'a str', which does not provide ITask"),
    ('NoTask', 'does not provide ITask'),
    ('NeedsWord', 'missing 1 required positional argument'),
])
def test_handler_that_cannot_be_a_task(handler, reason):
    with pytest.raises(ConfigurationError, match=reason) as caught:
        configure(directive(handler))
    assert "task 'it': " in str(caught.value)
    # The place in the file.
    assert 'line 6' in str(caught.value)
    assert zope.component.queryUtility(ITask, 'it') is None
    # Only what says that it makes tasks is called.
    assert calls == []


def test_handler_that_is_not_there():
    with pytest.raises(ConfigurationError, match='missing'):
        configure(directive('missing'))


@pytest.mark.parametrize('source', [
    '<remotetask:task handler="zcml_handlers.shout" />',
    '<remotetask:task name="" handler="zcml_handlers.shout" />',
    '<remotetask:task name="it" />'])
def test_incomplete(source):
    with pytest.raises(ConfigurationError):
        configure(source)


# --- options -----------------------------------------------------------------

@pytest.mark.parametrize('handler', ['shout', 'Greeting', 'greeting',
                                     'factory'])
def test_options(handler):
    configure(directive(handler, 'retry="2" timeout="1.5" groupable="yes" '
                                 'remote="no"'))
    made = zope.component.getUtility(ITask, 'it')
    assert made.retry == RetryPolicy(2)
    assert (made.timeout, made.groupable, made.remote) == (
        1.5, True, False)


@pytest.mark.parametrize(('given', 'keys'), [
    ('show="to subject"', ('to', 'subject')), ('show=""', ()), ('', None)])
def test_which_inputs_are_shown(given, keys):
    for handler in ('shout', 'command', 'Greeting'):
        zope.component.getGlobalSiteManager().unregisterUtility(
            provided=ITask, name='it')
        configure(directive(handler, given))
        assert shown_keys(zope.component.getUtility(ITask, 'it')) == keys


def test_defaults():
    configure(directive('shout'))
    made = zope.component.getUtility(ITask, 'it')
    assert task_option(made, 'remote') is None
    assert task_option(made, 'retry') is None


def test_options_leave_the_named_object_alone():
    configure(directive('greeting', 'timeout="3"')
              + directive('greeting', name='plain'))
    assert zope.component.getUtility(ITask, 'it').timeout == 3
    assert zope.component.getUtility(ITask, 'plain') is greeting
    assert not hasattr(greeting, 'timeout')


def test_what_the_decorator_says_holds_where_zcml_is_silent():
    configure(directive('marked', 'timeout="9"', name='first')
              + directive('marked', name='second')
              + directive('marked', name='third'))
    options = [(made.timeout, task_option(made, 'groupable'))
               for made in (zope.component.getUtility(ITask, name)
                            for name in ('first', 'second', 'third'))]
    # A name of its own: as the decorator next to the function says.
    assert options == [(9, True), (6, False), (6, False)]


def test_limits_and_a_queue():
    configure(directive('shout', 'limit="2" keyLimit="3" rate="100/60" '
                                 'queue="slow"'))
    made = zope.component.getUtility(ITask, 'it')
    assert (made.limit, made.keyLimit, made.rate, made.queue) == (
        2, 3, (100, 60.0), 'slow')


def test_a_command_gets_its_limit():
    configure(directive('command', 'timeout="3" remote="true"'))
    made = zope.component.getUtility(ITask, 'it')
    assert (made.timeout, made.remote, made.argv) == (3, True, ('true',))
    assert (command.timeout, command.remote) == (3600, False)


@pytest.mark.parametrize('rest, reason', [
    ('retry="-1"', 'retries is -1'),
    ('retry="often"', 'retry'),
    ('timeout="0"', 'timeout is 0'),
    ('limit="0"', 'limit is 0'),
    ('keyLimit="-1"', 'keyLimit is -1'),
    ('rate="often"', "rate is 'often'"),
    ('rate="0/60"', r'rate is \(0, 60.0\)'),
    ('queue="a b"', "queue is 'a b'"),
    ('remote="perhaps"', 'remote'),
    ('shell="yes"', 'shell'),
])
def test_options_that_cannot_be(rest, reason):
    with pytest.raises(ConfigurationError, match=reason):
        configure(directive('shout', rest))


def test_options_for_what_takes_none():
    with pytest.raises(ConfigurationError, match="task 'it': .*timeout"):
        configure(directive('slotted', 'timeout="3"'))


# --- conflicts ---------------------------------------------------------------

@pytest.mark.parametrize('other', [
    directive('Greeting'),
    # The discriminator is that of <utility>.
    '<utility provides="lovely.remotetask.interfaces.ITask" name="it" '
    'factory="zcml_handlers.Greeting" />'])
def test_two_tasks_of_one_name(other):
    with pytest.raises(ConfigurationConflictError):
        configure(directive('shout') + other)


def test_two_names_and_two_includes_are_none():
    configure(directive('shout') + directive('shout', name='other')
              + '<include package="lovely.remotetask" />'
              + '<include package="lovely.remotetask" file="meta.zcml" />')
    assert call('other') == 'ABC'


def test_an_application_replaces_echo():
    configure(directive('shout', name='echo'))
    assert call('echo') == 'ABC'


# --- what the package registers ----------------------------------------------

def test_echo():
    configure()
    echo = zope.component.getUtility(ITask, 'echo')
    assert isinstance(echo, EchoTask)
    assert call('echo', [1]) == [1]


def test_annotatable():
    configure()
    for class_ in (TaskService, Job, CronJob):
        assert IAttributeAnnotatable.implementedBy(class_), class_


#: Without zope.component's own fixtures, and without the host's packages.
BARE = '''
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(('zope.security', 'zope.annotation',
                            'zope.processlifetime', 'zope.publisher',
                            'zope.container', 'zope.site')):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

if 'bare' in sys.argv:
    sys.meta_path.insert(0, NotInstalled())

from zope.component import getGlobalSiteManager, getUtility
from zope.configuration import xmlconfig

if 'slug' in sys.argv:
    from importlib.resources import as_file, files
    slug = files('lovely.remotetask') / 'lovely.remotetask-configure.zcml'
    with as_file(slug) as path:
        xmlconfig.file(str(path))
else:
    xmlconfig.string(
        '<configure xmlns="http://namespaces.zope.org/zope">'
        '<include package="lovely.remotetask"/></configure>')

from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import ITask
print(getUtility(ITask, 'echo')(None, 1, 'hello'))
print([r.handler.__name__
       for r in getGlobalSiteManager().registeredHandlers()])
print('zope.security' in sys.modules, 'zope.annotation' in sys.modules)
'''


@pytest.mark.parametrize('way, handlers_registered, modules', [
    ('bare', "[]", 'False False'),
    ('bare slug', "[]", 'False False'),
    ('full', "['bootStrapSubscriber']", 'True True'),
    ('full slug', "['bootStrapSubscriber']", 'True True')])
def test_a_process_of_its_own(way, handlers_registered, modules):
    done = subprocess.run(
        [sys.executable, '-W', 'error:::lovely', '-c', BARE, *way.split()],
        capture_output=True, text=True, timeout=60)
    assert done.stderr == ''
    assert done.stdout.splitlines() == ['hello', handlers_registered, modules]


# --- autostart ---------------------------------------------------------------

@pytest.fixture
def product_configuration(monkeypatch):
    """Puts a module in the place of zope.app.appsetup.product, which is not
    installed here: it is where the ZTK keeps what stands in zope.conf."""
    def use(**options):
        product = types.ModuleType('zope.app.appsetup.product')
        product.getProductConfiguration = {
            'lovely.remotetask': options}.get
        for name in ('zope.app', 'zope.app.appsetup'):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, product.__name__, product)

    return use


def test_autostart(application, product_configuration, wait_for, log):
    configure()
    service = application.service('tasks')
    product_configuration(autostart='@tasks')
    zope.component.handle(DatabaseOpenedWithRoot(application.db))
    assert 'INFO service tasks on site root started' in log
    assert service.isProcessing()
    jobid = service.add('echo', 'hello')
    transaction.commit()
    wait_for(service, jobid, 'completed')
    assert service.getResult(jobid) == 'hello'
    service.stopProcessing(wait=None)


def test_autostart_without_a_configuration(application, log):
    configure()
    service = application.service('tasks')
    zope.component.handle(DatabaseOpenedWithRoot(application.db))
    assert log == ['INFO handling event IStartRemoteTasksEvent']
    assert not service.isProcessing()


def test_autostart_is_registered_once():
    configure('<include package="lovely.remotetask" />')
    handlers = [registration.handler for registration
                in zope.component.getGlobalSiteManager()
                .registeredHandlers()]
    assert handlers.count(bootStrapSubscriber) == 1


# --- schedules ---------------------------------------------------------------

def scheduled(rest):
    return f'<remotetask:schedule {rest} />'


def test_a_schedule_of_a_task():
    configure(directive('shout', 'cron="30 2 * * *" '
                                 'timezone="Europe/Vienna" keep="60"'))
    made = zope.component.getUtility(ITask, 'it')
    assert made.schedule == {'cron': '30 2 * * *',
                             'timezone': 'Europe/Vienna'}
    assert made.keep == 60
    # The function itself has none: another directive may name it.
    configure(directive('shout', name='other'))
    assert task_option(zope.component.getUtility(ITask, 'other'),
                       'schedule') is None


def test_a_schedule_of_its_own():
    configure(scheduled('key="nightly" task="it" cron="30 2 * * *" '
                        'input=\'{"days": 3}\' priority="2" missed="skip" '
                        'service="/tasks"'))
    made = zope.component.getUtility(IDeclaredSchedule, 'nightly')
    assert made.declaration == {
        'task': 'it', 'input': {'days': 3}, 'priority': 2,
        'cron': '30 2 * * *', 'missed': 'skip'}
    assert made.service == '/tasks'


@pytest.mark.parametrize('rest, told', [
    ('task="it" cron="30 2 * * *"', 'key'),
    ('key="a" cron="30 2 * * *"', 'task'), ('key="a" task="it"', 'schedule'),
    ('key="a" task="it" cron="99 2 * * *"', 'minute'),
    ('key="a" task="it" every="60" input="{"', 'JSON'),
    ('key="a" task="it" every="60" priority="9"', 'priority'),
    (f'key="{"k" * 201}" task="it" every="60"', "key is 'k+.*1 to 200")])
def test_one_that_cannot_be(rest, told):
    with pytest.raises(ConfigurationError, match=told):
        configure(scheduled(rest.replace('input="{"', "input='{'")))


def test_two_schedules_of_one_key_conflict():
    one = scheduled('key="a" task="it" every="60"')
    with pytest.raises(ConfigurationConflictError):
        configure(one + one.replace('60', '61'))


def test_a_task_whose_schedule_cannot_be():
    with pytest.raises(ConfigurationError, match='schedule'):
        configure(directive('shout', 'cron="99 2 * * *"'))
    with pytest.raises(ConfigurationError, match='at most 195 characters'):
        configure(directive('shout', 'every="60"', name='x' * 196))

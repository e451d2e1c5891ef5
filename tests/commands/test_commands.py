"""CommandTask: real commands, whatever they do."""

import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import pytest
from zope.component import provideUtility
from zope.component import testing as component_testing
from zope.interface.verify import verifyObject
from zope.schema import TextLine

from lovely.remotetask import TaskService
from lovely.remotetask.commands import CommandTask
from lovely.remotetask.errors import RuntimeFault
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import task_option

DEADLINE = 20


def python(code, *arguments, **options):
    """A command that is a piece of Python."""
    return CommandTask([sys.executable, '-I', '-c', textwrap.dedent(code),
                        *arguments], **options)


def run(command, input=None):
    return command(None, 1, input)


def refusal(command, input=None, kind=TaskError):
    with pytest.raises(kind) as caught:
        run(command, input)
    return str(caught.value)


class Watched:
    """A named pipe that processes of a command hold open.

    End of file means that all of them are gone: unlike the process table it
    knows no zombies and no numbers that were used again.
    """

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(path)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def started(self):
        assert self._read() == b'.'

    def is_gone(self):
        return self._read() == b''

    def _read(self):
        # Not ready before the first process has opened it.
        ready, _, _ = select.select([self.end], [], [], DEADLINE)
        assert ready, 'it is still there'
        return os.read(self.end, 1)


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path / 'watched')
    yield watched
    os.close(watched.end)


def shell(script, watched, **options):
    """A command with a grandchild that does nothing for long, and holds
    stdout and the watched pipe open."""
    return CommandTask(['sh', '-c', BEGIN + script, 'sh', watched.path],
                       **options)


BEGIN = 'exec 9> "$1"; (printf . >&9; exec sleep 1000) & '


# --- what comes back ---------------------------------------------------------

def test_result():
    result = run(python('''
        import sys
        print('out')
        print('err', file=sys.stderr)
        '''))
    assert 0 < result.pop('seconds') < DEADLINE
    assert result == {
        'returncode': 0, 'stdout': 'out\n', 'stderr': 'err\n',
        'stdout_truncated': False, 'stderr_truncated': False}


def test_provides_its_interfaces():
    command = CommandTask(['true'])
    assert verifyObject(ITask, command)
    assert verifyObject(ITaskOptions, command)
    assert repr(command) == '<CommandTask true>'


def test_options():
    command = CommandTask(['true'])
    # Whatever the service's remoteDefault says.
    assert task_option(command, 'remote') is False
    assert task_option(command, 'timeout') == 3600.0
    policy = RetryPolicy(1)
    given = {'remote': True, 'timeout': 5, 'retry': policy, 'groupable': True,
             'on_error': print, 'show': ('to',), 'limit': 2, 'rate': (3, 60.0),
             'keyLimit': 4, 'queue': 'slow', 'keep': 60, 'schedule': {
                 'every': 60}}
    schemas = {'inputSchema': TextLine(), 'outputSchema': TextLine()}
    assert {*given} == {*ITaskOptions}
    command = CommandTask(['true'], **given, **schemas)
    assert {name: task_option(command, name) for name in given} == given
    for name, schema in schemas.items():
        assert getattr(command, name) is schema


def test_pickles():
    command = python('print(input())', stdin='text', env={'A': 'b'})
    again = pickle.loads(pickle.dumps(command))
    assert run(again, 'hello')['stdout'] == 'hello\n'


def test_from_a_thread():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(run(python('print(1)'))['stdout']))
    thread.start()
    thread.join(DEADLINE)
    assert found == ['1\n']


def test_as_a_job():
    component_testing.setUp()
    try:
        provideUtility(python('print(input())', stdin='text'), ITask, 'say')
        provideUtility(python('raise SystemExit("no paper")'), ITask, 'print')
        service = TaskService()
        said, printed = service.add('say', 'hello'), service.add('print')
        service.process()
        assert service.getResult(said)['stdout'] == 'hello\n'
        assert service.getStatus(printed) == 'error'
        assert service.getError(printed).endswith('exit code 1: no paper')
    finally:
        component_testing.tearDown()


def test_text_that_is_not_utf8():
    code = r'import os; os.write(1, b"caf\xe9 \xc3\xa9")'
    assert run(python(code))['stdout'] == 'caf\ufffd é'
    assert run(python(code, output='bytes'))['stdout'] == b'caf\xe9 \xc3\xa9'


# --- how it ends -------------------------------------------------------------

def test_exit_code_is_final():
    message = refusal(python('''
        import sys
        print('x' * 5000, file=sys.stderr)
        print('disk full', file=sys.stderr)
        raise SystemExit(3)
        '''))
    assert 'ended with exit code 3: ...' in message
    assert message.endswith('x\ndisk full')
    assert len(message) < 2500


def test_exit_code_without_a_word():
    assert refusal(python('raise SystemExit(3)')).endswith(
        'ended with exit code 3; it said nothing on stderr')


def test_exit_code_follows_a_retry_policy():
    # TaskError would be final at once.
    assert 'exit code 3' in refusal(
        python('raise SystemExit(3)', retry=RetryPolicy(2)),
        kind=RuntimeFault)


def test_ended_by_a_signal():
    assert 'was ended by the signal SIGKILL' in refusal(python(
        'import os, signal; os.kill(os.getpid(), signal.SIGKILL)'))


def test_command_not_found():
    message = refusal(CommandTask(['no-such-command', 'x']))
    assert 'no-such-command was not found' in message
    assert 'install it' in message


def test_command_not_executable(tmp_path):
    (tmp_path / 'script').write_text('')
    message = refusal(CommandTask([tmp_path / 'script']))
    assert 'Permission denied' in message
    assert 'correct the permissions' in message


def test_directory_not_found(tmp_path):
    message = refusal(CommandTask(['true'], cwd=tmp_path / 'missing'))
    assert 'there is no such directory' in message
    assert str(tmp_path / 'missing') in message


# --- the time limit ----------------------------------------------------------

def test_time_limit_kills_grandchildren(watched):
    message = refusal(shell('printf busy >&2; wait', watched, timeout=1))
    assert 'did not end within 1 seconds' in message
    assert message.endswith(': busy')
    watched.started()
    assert watched.is_gone()


def test_time_limit_of_what_ignores_sigterm(watched):
    # What is ignored stays ignored in every process that it starts.
    command = CommandTask(
        ['sh', '-c', f'trap "" TERM; {BEGIN} wait', 'sh', watched.path],
        timeout=1, grace=0.1)
    assert 'did not end within' in refusal(command)
    watched.started()
    assert watched.is_gone()


def test_sigterm_lets_it_clean_up():
    command = python('''
        import os, signal, sys
        def clean(*args):
            os.write(2, b'cleaned')
            os._exit(0)
        signal.signal(signal.SIGTERM, clean)
        signal.pause()
        ''', timeout=1)
    # It stopped at the limit, also with an exit code of 0.
    assert refusal(command).endswith(': cleaned')


def test_grandchild_that_keeps_stdout_open(watched):
    result = run(shell('echo done', watched, grace=0.5, timeout=DEADLINE))
    assert result['stdout'] == 'done\n'
    assert result['seconds'] < DEADLINE / 2
    watched.started()
    assert watched.is_gone()


def test_last_words_of_a_grandchild():
    # It goes on when its parent is gone, and is not cut off.
    result = run(python('''
        import subprocess, sys
        subprocess.Popen([sys.executable, '-I', '-c',
                          'import sys; sys.stdin.read(); print("last")'],
                         stdin=subprocess.PIPE)
        print('first', flush=True)
        ''', grace=DEADLINE))
    assert result['stdout'] == 'first\nlast\n'


def test_process_outside_the_group_does_not_block():
    # We cannot kill what left the group; we do not wait for it either.
    command = python('''
        import os, signal, subprocess, sys
        child = subprocess.Popen(
            [sys.executable, '-I', '-c', 'import signal; signal.pause()'],
            start_new_session=True)
        print(child.pid)
        ''', grace=0.1, timeout=DEADLINE)
    result = run(command)
    os.kill(int(result['stdout']), signal.SIGKILL)
    assert result['seconds'] < DEADLINE / 2


def test_interrupt_kills_the_group(watched):
    command = shell('wait', watched)

    def interrupt():
        watched.started()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(command)
    assert watched.is_gone()


def test_interrupt_during_the_start_kills_the_group(watched, monkeypatch):
    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            # It runs, and only this thread knows of it.
            watched.started()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    command = shell('wait', watched)
    monkeypatch.setattr(subprocess, 'Popen', Popen)
    with pytest.raises(KeyboardInterrupt):
        run(command)
    assert watched.is_gone()


def test_exit_status_that_somebody_else_collects():
    code = '''
import signal, sys
from lovely.remotetask.commands import CommandTask
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
try:
    CommandTask(['sh', '-c', 'exit 3'])(None, 1, None)
except Exception as error:
    print(type(error).__name__, error)
'''
    done = subprocess.run([sys.executable, '-c', code], text=True,
                          capture_output=True, timeout=DEADLINE)
    # subprocess says 0 in this case.
    assert done.stdout.startswith('RuntimeFault how the command ended is not')


# --- output without end ------------------------------------------------------

FLOOD = '''
import os, sys
for count in range(3000):
    os.write(int(sys.argv[1]), b'%06d' % count * 10000)
'''


@pytest.mark.parametrize('number, name, kept', [
    (1, 'stdout', '000000' * 100), (2, 'stderr', '002999' * 100)])
def test_flood_is_bounded_in_memory(number, name, kept):
    command = python(FLOOD, str(number), max_output=600)
    tracemalloc.start()
    try:
        result = run(command)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 180 MB went through.
    assert peak < 1_000_000
    assert result[f'{name}_truncated'] is True
    assert result[name] == kept
    other = 'stderr' if name == 'stdout' else 'stdout'
    assert result[f'{other}_truncated'] is False


def test_flood_does_not_hold_up_the_limit(watched):
    command = python('''
        import os, sys
        held = os.open(sys.argv[1], os.O_WRONLY)
        while True:
            os.write(1, b'x' * 65536)
        ''', watched.path, timeout=0.5, grace=0.1)
    started = time.monotonic()
    assert 'did not end within 0.5 seconds' in refusal(command)
    assert time.monotonic() - started < DEADLINE / 2
    assert watched.is_gone()


def test_exactly_as_much_as_is_kept():
    result = run(python('print("x" * 9)', max_output=10))
    assert result['stdout'] == 'x' * 9 + '\n'
    assert not result['stdout_truncated']
    result = run(python('print("x" * 10)', max_output=10))
    assert result['stdout'] == 'x' * 10
    assert result['stdout_truncated']


def test_nothing_kept():
    result = run(python('print(1)', max_output=0))
    assert (result['stdout'], result['stdout_truncated']) == ('', True)


# --- stdin -------------------------------------------------------------------

COPY = '''
import shutil, sys
shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
'''


def test_stdin_larger_than_any_pipe():
    # It answers while it reads: who only wrote would wait for ever.
    data = bytes(range(256)) * 20_000
    command = python(COPY, stdin='bytes', output='bytes',
                     max_output=len(data))
    assert run(command, data)['stdout'] == data


def test_command_that_never_reads_stdin():
    command = python('print("done")', stdin='bytes')
    assert run(command, b'x' * 5_000_000)['stdout'] == 'done\n'


def test_command_that_reads_a_little_of_its_stdin():
    # Then there is room in the pipe, but not for all that we have.
    command = python('''
        import os, signal
        os.read(0, 10_000)
        os.write(2, b'enough')
        signal.pause()
        ''', stdin='bytes', timeout=1)
    assert refusal(command, b'x' * 5_000_000).endswith(': enough')


def test_command_that_closes_stdin():
    command = python('''
        import os, sys
        os.close(0)
        os.write(1, b'x' * 500_000)
        ''', stdin='bytes', max_output=500_000)
    assert run(command, b'x' * 5_000_000)['stdout'] == 'x' * 500_000


def test_stdin_text():
    command = python(COPY, stdin='text')
    assert run(command, 'Grüße ✓')['stdout'] == 'Grüße ✓'
    assert run(command, '')['stdout'] == ''


def test_stdin_json():
    command = python('import json, sys; print(json.load(sys.stdin)["é"])',
                     stdin='json')
    assert run(command, {'é': [1, None]})['stdout'] == '[1, None]\n'


def test_no_input_is_an_empty_stdin():
    assert run(python('import sys; print(repr(sys.stdin.read()))'),
               None)['stdout'] == "''\n"


@pytest.mark.parametrize('stdin, input, reason', [
    ('text', b'x', 'is a bytes; its stdin takes text'),
    ('text', None, 'is a NoneType; its stdin takes text'),
    ('text', '\ud800', 'as text: .*surrogates not allowed'),
    ('bytes', 'x', 'is a str; its stdin takes bytes'),
    ('json', object(), 'as json: Object of type object'),
    ('json', float('nan'), 'as json: Out of range float'),
    ('json', (recursive := [0]), 'as json: Circular reference'),
    (None, 'x', 'takes no input, and was given a str'),
])
def test_input_that_does_not_fit_stdin(stdin, input, reason):
    recursive[0] = recursive
    with pytest.raises(TaskError, match=reason):
        run(CommandTask(['cat'], stdin=stdin), input)


# --- placeholders ------------------------------------------------------------

ARGUMENTS = 'import sys; print(sys.argv[1:])'


def test_placeholders():
    command = python(ARGUMENTS, '{source}', '-o', '{target}', '{source}',
                     '{0}', '{}', '{a:b}')
    assert command.placeholders == ('source', 'target')
    result = run(command, {'source': 'a b; rm *', 'target': '$HOME/é'})
    # No shell has seen them.
    assert result['stdout'] == (
        "['a b; rm *', '-o', '$HOME/é', 'a b; rm *', '{0}', '{}', "
        "'{a:b}']\n")


def test_placeholders_behind_an_equals_sign():
    command = python(ARGUMENTS, '--out={target}', 'if={source}', '-o={target}')
    assert command.placeholders == ('target', 'source')
    result = run(command, {'source': 'a b', 'target': '-1'})
    # An option has been chosen already: this is its value.
    assert result['stdout'] == "['--out=-1', 'if=a b', '-o=-1']\n"


def test_braces_that_are_meant():
    command = python(ARGUMENTS, '{{name}}', '/x/{{print}}', '--out={{a}}',
                     '${{HOME}} ${{PATH}}')
    assert command.placeholders == ()
    assert run(command)['stdout'] == (
        "['{name}', '/x/{print}', '--out={a}', '${HOME} ${PATH}']\n")


@pytest.mark.parametrize('value, argument', [
    (7, '7'), (1.5, '1.5'), ('', ''), ('{target}', '{target}')])
def test_values_of_placeholders(value, argument):
    command = python(ARGUMENTS, '{source}')
    assert run(command, {'source': value})['stdout'] == f'{[argument]}\n'


@pytest.mark.parametrize('input, reason', [
    ({'source': '--help', 'target': 't'}, 'source .* take for an option'),
    ({'source': -1, 'target': 't'}, 'source .* take for an option'),
    ({'source': 's'}, 'lacks target; it takes source, target'),
    ({'source': 's', 'target': 't', 'shell': 1}, 'has unknown shell'),
    ({'source': 's', 'target': 't', 1: 1}, 'has unknown 1'),
    ({'source': 's\0', 'target': 't'}, 'source .* contains a NUL character'),
    ({'source': '\ud800', 'target': 't'}, 'source .* cannot be encoded'),
    ({'source': b's', 'target': 't'}, 'source .* is a bytes'),
    ({'source': None, 'target': 't'}, 'source .* is a NoneType'),
    ({'source': True, 'target': 't'}, 'source .* is a bool'),
    ('s', 'is a str; give a dict with source, target'),
    (None, 'is a NoneType; give a dict with source, target'),
])
def test_input_that_does_not_fit_placeholders(input, reason):
    with pytest.raises(TaskError, match=reason):
        run(CommandTask(['cp', '{source}', '{target}']), input)


# --- environment and directory -----------------------------------------------

def test_environment(monkeypatch):
    monkeypatch.setenv('DATABASE_PASSWORD', 'secret')
    monkeypatch.setenv('TZ', 'UTC')
    result = run(python('import os; print(dict(os.environ))',
                        env={'OWN': 'x', 'LANG': 'C.UTF-8'}))
    seen = eval(result['stdout'])
    assert 'DATABASE_PASSWORD' not in seen
    assert (seen['OWN'], seen['LANG'], seen['TZ']) == ('x', 'C.UTF-8', 'UTC')
    assert seen['PATH'] == os.environ['PATH']


def test_directory(tmp_path):
    command = python('import os; print(os.getcwd())', cwd=tmp_path)
    assert run(command)['stdout'] == f'{tmp_path}\n'


# --- declarations that cannot work -------------------------------------------

@pytest.mark.parametrize('argv, options, reason', [
    ('convert a b', {}, 'give a list of the program'),
    (None, {}, 'give a list of the program'),
    ([], {}, 'the command is empty'),
    ([''], {}, 'the command is empty'),
    (['cp', 1], {}, 'an argument of the command is 1; give a str'),
    (['cp', 'a\0b'], {}, 'contains a NUL'),
    (['{program}'], {}, 'not the program'),
    (['bin/{program}'], {}, 'not the program'),
    (['a={program}'], {}, 'not the program'),
    (['sh', '-c', 'convert {x}'], {}, "'convert {x}' has {x} amid other text"),
    (['sh', '-c', 'a={x}; b'], {}, 'amid other text.*as it is, write {{x}}'),
    (['cut', '-f{x}'], {}, 'like --name={x}'),
    (['cut', '--{x}={y}'], {}, 'has {x} amid'),
    (['cut', '{x}{y}'], {}, 'amid other text'),
    (['cut', '--out={x}', '{{a}}{x}'], {}, 'amid other text'),
    (['cp', '{a}'], {'stdin': 'text'}, 'not by both'),
    (['cat'], {'stdin': 'xml'}, "stdin is 'xml'"),
    (['cat'], {'output': 'json'}, "output is 'json'"),
    (['cat'], {'max_output': -1}, 'max_output is -1'),
    (['cat'], {'timeout': None}, 'a command always has a time limit'),
    (['cat'], {'grace': float('nan')}, 'grace is nan'),
    (['cat'], {'env': {'A': 1}}, 'env is 1; give a str'),
])
def test_declaration_that_cannot_work(argv, options, reason):
    with pytest.raises(UsageError, match=reason):
        CommandTask(argv, **options)


@pytest.mark.parametrize('options, reason', [
    ({'timeout': 0}, 'timeout is 0'),
    ({'timeout': '5'}, "timeout is '5'"),
    ({'shell': True}, 'unknown task option shell'),
])
def test_options_that_tasks_do_not_have(options, reason):
    with pytest.raises(TypeError, match=reason):
        CommandTask(['cat'], **options)

"""What servers and workers log, and where: real processes."""

import json

import pytest

LOUD = '''
import logging
from lovely.remotetask.task import task

logging.basicConfig(filename='mine.log', level=logging.INFO,
                    format='mine: %(message)s')


@task
def loud(input):
    logging.getLogger('app').info('here')
'''


@pytest.fixture
def said(serve, remotetask, tmp_path):
    """Runs one ``echo`` in a server; gives the lines on standard error."""
    def said(*arguments):
        server = serve('--port', '0', '--threads', '1', *arguments).ready()
        ended = remotetask('add', 'echo', '1', '--wait', '--url', server.url)
        assert ended.returncode == 0, ended.stderr
        server.stop()
        return server.stderr()

    return said


@pytest.mark.parametrize('arguments', [
    ['-v'], ['--log-level', 'info'], ['--log-level', 'DEBUG']])
def test_the_ends_of_runs_are_shown(said, arguments):
    text = said(*arguments)
    assert ' INFO lovely.remotetask.runs: Job ' in text
    assert ' completed after ' in text


def test_by_default_they_are_not(said):
    assert said() == 'remotetask: stopped\n'


def test_what_a_module_of_tasks_has_set_up_is_kept(
        serve, remotetask, tmp_path):
    (tmp_path / 'loud.py').write_text(LOUD)
    server = serve('--port', '0', '--tasks', 'loud', '-v').ready()
    remotetask('add', 'loud', '--wait', '--url', server.url)
    server.stop()
    with (tmp_path / 'mine.log').open() as file:
        lines = file.readlines()
    assert 'mine: here\n' in lines
    assert any(line.startswith('mine: Job ') for line in lines)
    assert 'lovely.remotetask.runs' not in server.stderr()


JSON = {'version': 1,
        'handlers': {'file': {'class': 'logging.FileHandler',
                              'filename': 'runs.log'}},
        'loggers': {'lovely.remotetask.runs': {
            'level': 'INFO', 'handlers': ['file'], 'propagate': False}}}

INI = '''
[loggers]
keys=root,runs
[handlers]
keys=file
[formatters]
keys=
[logger_root]
handlers=
[logger_runs]
qualname=lovely.remotetask.runs
level=INFO
handlers=file
propagate=0
[handler_file]
class=FileHandler
args=('runs.log',)
'''


@pytest.mark.parametrize('name', ['log.json', 'log.ini'])
def test_a_file_sets_up_logging(said, tmp_path, name):
    (tmp_path / name).write_text(
        json.dumps(JSON) if name.endswith('json') else INI)
    assert said('--log-config', name) == 'remotetask: stopped\n'
    assert ' completed after ' in (tmp_path / 'runs.log').read_text()


@pytest.mark.parametrize(('name', 'text', 'reason'), [
    ('log.yaml', '', 'neither .ini nor .json'),
    ('none.json', None, 'No such file'),
    ('bad.json', '{"version": 1, "handlers": {"a": {"class": "b.C"}}}',
     "handler 'a'"),
    ('bad.ini', 'nothing', 'does not set up logging'),
])
@pytest.mark.parametrize('command', ['serve', 'worker'])
def test_a_file_that_cannot_be_used_is_said_in_one_line(
        remotetask, tmp_path, command, name, text, reason):
    if text is not None:
        (tmp_path / name).write_text(text)
    run = remotetask(command, '--log-config', name,
                     *(['--db', 'file://x.fs'] if command == 'worker' else
                       ['--port', '0']))
    assert run.returncode == 1 and reason in run.stderr
    assert run.stderr.startswith('remotetask: ')
    assert run.stderr.count('\n') == 1

"""A service of 0.5.2 says in one sentence what it needs."""

import logging
import re
import subprocess
import sys
import threading

import pytest
import transaction

from lovely.remotetask.cli import program
from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.startup import bootStrapSubscriber

SENTENCE = ('the service /tasks was written by lovely.remotetask 0.5.2: stop '
            'what uses it, and run: remotetask migrate --db URI --service '
            '/tasks')

CALLS = {
    'jobs': lambda service: service.jobs,
    'add': lambda service: service.add('echo', 1),
    'addMany': lambda service: service.addMany('echo', [1]),
    'addCronJob': lambda service: service.addCronJob('echo', minute=(0,)),
    'startJob': lambda service: service.startJob(298837034),
    'reschedule': lambda service: service.reschedule(298837034),
    'retryJob': lambda service: service.retryJob(298837034),
    'clean': lambda service: service.clean(),
    'cancel': lambda service: service.cancel(298837034),
    'getStatus': lambda service: service.getStatus(298837034),
    'getResult': lambda service: service.getResult(298837034),
    'getError': lambda service: service.getError(298837034),
    'listJobs': lambda service: service.listJobs(),
    'stats': lambda service: service.stats(),
    'listWorkers': lambda service: service.listWorkers(),
    'pause': lambda service: service.pause(),
    'resume': lambda service: service.resume(),
    'hasJobsWaiting': lambda service: service.hasJobsWaiting(),
    'claimNextJob': lambda service: service.claimNextJob(),
    'processNext': lambda service: service.processNext(),
    'process': lambda service: service.process(0),
    'startProcessing': lambda service: service.startProcessing(),
    '_queue': lambda service: len(service._queue),
}


@pytest.mark.parametrize('name', CALLS)
def test_each_call_says_what_to_do(opened, ran, name):
    with pytest.raises(NotMigrated) as caught:
        CALLS[name](opened().tasks)
    assert str(caught.value) == SENTENCE


def test_it_can_be_looked_at(opened, press):
    """Folders list it, sites find it; it runs nothing."""
    found = opened()
    assert found.tasks.__name__ == 'tasks'
    assert found.tasks.processorArguments == {'waitTime': 1.0}
    assert not found.tasks.isProcessing()
    found.tasks.stopProcessing()
    assert found.mail().title == 'Press'
    assert type(found.mail()) is press.PressService


def test_a_path_below_a_site(opened, press):
    with pytest.raises(NotMigrated, match=re.escape(
            'remotetask migrate --db URI --service '
            '/site1/++etc++site/default/mail')):
        opened().mail().getStatus(1)


def test_an_application_that_writes_it_harms_nothing(opened, migrate, press):
    found = opened()
    found.tasks.processorArguments = {'waitTime': 0.0}
    transaction.commit()
    found.close()
    code, out, _ = migrate()
    assert code == 0 and out.count('total') == 3
    found = opened()
    assert found.tasks.processorArguments == {'waitTime': 0.0}
    assert len(found.tasks.jobs) == 792


@pytest.mark.parametrize('processor', [SimpleProcessor, MultiProcessor])
def test_a_processor_logs_it_once_and_ends(opened, caplog, processor):
    thread = threading.Thread(
        target=processor(opened().db, ['tasks'], waitTime=0.0), daemon=True)
    thread.running = True
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    (record,) = caplog.records
    assert record.getMessage() == f'Processor: {SENTENCE}'
    assert record.exc_info is None


def test_the_start_up_goes_on(opened, caplog, monkeypatch, press):
    from lovely.remotetask.run import startup

    found = opened()
    monkeypatch.setattr(startup, 'getAutostartServiceNames',
                        lambda: ['@tasks', '@upgraded'])
    caplog.set_level(logging.INFO)

    class Event:
        database = found.db

    bootStrapSubscriber(Event)
    errors = [record for record in caplog.records
              if record.levelno == logging.ERROR]
    assert [record.exc_info for record in errors] == [None, None]
    assert errors[0].getMessage() == (
        f'service tasks on site root could not be started: {SENTENCE}')
    assert '/upgraded was written' in errors[1].getMessage()


@pytest.mark.parametrize('verb', [
    ['stats'], ['list'], ['add', 'echo'], ['check'], ['pause'], ['worker'],
    ['cancel', '298837034'], ['serve', '--port', '0']])
def test_commands_say_it_in_one_line(written, capfd, press, verb):
    where = ['--db', f'file://{written}']
    if verb[0] != 'serve':
        where += ['--service', '/tasks']
    assert program.run([*verb, *where]) == 1
    assert capfd.readouterr() == ('', f'remotetask: {SENTENCE}\n')


@pytest.mark.parametrize('command', ['migrate', 'worker', 'serve'])
def test_a_file_of_python_2(written, command):
    """It was not converted: the first bytes tell."""
    with open(written, 'r+b') as file:
        assert file.read(4) == b'FS30'
        file.seek(0)
        file.write(b'FS21')
    where = (['--data', str(written.parent)] if command == 'serve' else
             ['--db', f'file://{written}'])
    # ZODB leaves such a file open until its process ends.
    run = subprocess.run(
        [sys.executable, '-m', 'lovely.remotetask.cli', command, *where],
        capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (1, '')
    assert run.stderr.count('\n') == 1
    assert 'was written by Python 2' in run.stderr
    assert 'zodbupdate --pack --convert-py3 --encoding utf-8' in run.stderr

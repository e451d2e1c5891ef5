"""remotetask cron: against a server, against a database, and on its own."""

import json
import re

import pytest


@pytest.fixture
def cron(remotetask, where, tmp_path):
    """``cron(verb, ...)``: what it prints, parsed from JSON if it is that."""
    (tmp_path / 'thetasks.py').write_text(
        'from lovely.remotetask.task import task\n\n\n'
        '@task(remote=True)\ndef double(input):\n    return 2 * input\n')

    def run(verb, *arguments, fails=None):
        tasks = (['--tasks', 'thetasks']
                 if verb in ('add', 'edit') and '--db' in where else [])
        done = remotetask('cron', verb, *arguments, *where, *tasks)
        if fails is not None:
            assert (done.returncode, done.stdout) == (fails, ''), done
            return done.stderr
        assert done.returncode == 0, done.stderr
        return (json.loads(done.stdout) if '--json' in arguments
                else done.stdout)

    return run


def test_check_tells_the_next_runs(remotetask):
    done = remotetask('cron', 'check', '30 2 * * *', '--timezone',
                      'Europe/Vienna', '--count', '3')
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split('  ')[0] == 'next runs' and len(lines) == 3
    for line in lines:
        assert re.fullmatch(
            r'(\S+ 0[01]:30:00 UTC)  \S+ 02:30:00\+0[12]:00 *', line), line
    done = remotetask('cron', 'check', '@hourly', '--json')
    assert len(json.loads(done.stdout)['nextRuns']) == 5


@pytest.mark.parametrize('arguments, told', [
    (['* * * *'], '4 fields'),
    (['* * * * * *'], 'seconds are not supported'),
    (['60 * * * *'], 'bad minute'),
    (['0 0 30 2 *'], 'bad day-of-month'),
    (['@reboot'], 'unknown'),
    (['tomorrow'], '1 fields'),
    (['* * * * *', '--timezone', 'CST'], 'abbreviation'),
    (['* * * * *', '--timezone', 'Mars/Base'], 'unknown'),
])
def test_check_refuses(remotetask, arguments, told):
    done = remotetask('cron', 'check', *arguments)
    assert (done.returncode, done.stdout) == (1, '')
    assert told in done.stderr and done.stderr.count('\n') == 1


def test_a_life(cron):
    jobid = cron('add', 'double', '21', '--cron', '30 2 * * *', '--timezone',
                 'Europe/Vienna', '--missed', 'all', '--at-most', '3',
                 '--overlap', 'queue', '--deadline', '7200', '--key',
                 'nightly').strip()
    assert cron('add', 'double', '21', '--cron', '0 1 * * *', '--key',
                'nightly').strip() == jobid
    (line,) = (line for line in cron('list').splitlines()
               if line.startswith(jobid))
    assert re.search(r"cron='30 2 \* \* \*' timezone=Europe/Vienna missed=all "
                     r'atMost=3 deadline=7200\S* overlap=queue +\S+ '
                     r'0[01]:30:00 UTC +\S+ 02:30:00', line), line
    shown = cron('show', jobid)
    assert re.search(r'^next run: .* 0[01]:30:00 UTC$', shown, re.M), shown
    assert len(cron('next', jobid, '7').splitlines()) == 8
    assert cron('pause', jobid) == f'{jobid}: paused\n'
    assert 'paused' in cron('show', jobid)
    assert cron('next', jobid, '--json') == {'nextRuns': []}
    assert cron('resume', jobid) == f'{jobid}: resumed\n'
    assert cron('edit', jobid, '--cron', '@daily', '--timezone', 'UTC',
                '--input', '22') == f'{jobid}: changed\n'
    found = cron('show', jobid, '--json')
    assert (found['plan']['cron'], found['input']) == ('@daily', 22)
    assert 'timezone' not in found['plan']
    assert found['plan']['missed'] == 'all'
    assert cron('edit', jobid, '--queue', 'slow', '--concurrency-key',
                'k') == f'{jobid}: changed\n'
    shown = cron('show', jobid)
    assert re.search(r'^queue: +slow$', shown, re.M), shown
    assert re.search(r'^concurrency key: +k$', shown, re.M), shown
    assert cron('run', jobid) == f'{jobid}: a run was added\n'


def test_what_follows_each_run_is_said(cron):
    given = ('add', 'double', '21', '--every', '3600', '--on-success')
    found = cron('show', cron(
        *given, '{"task": "double", "input": {"RESULT": true}}',
        '--on-failure', 'double').strip(), '--json')
    assert found['status'] == 'cronjob'
    assert "Task does not exist: 'no' (this is about onSuccess)" in cron(
        *given, 'no', fails=1)


@pytest.mark.parametrize('arguments, told', [
    (['add', 'double', '1'], 'no schedule'),
    (['add', 'double', '1', '--cron', '* * * *'], '4 fields'),
    (['add', 'double', '1', '--every', '0.5'], 'at least 1'),
    (['add', 'double', '1', '--every', '9', '--cron', '@daily'], 'one rule'),
    (['add', 'double', '1', '--at', '2001-01-01'], 'has passed'),
    (['add', 'nothing', '1', '--every', '9'], "'nothing'"),
    (['edit', '7', '--every', '9'], 'no job'),
    (['pause', '7'], 'no job'),
])
def test_it_refuses(cron, arguments, told):
    answer = cron(*arguments, fails=1)
    assert told in answer.lower() or told in answer, answer
    assert answer.count('\n') == 1


def test_edit_wants_a_change(cron):
    assert 'say what to change' in cron('edit', '7', fails=2)

"""``remotetask queues``, ``limits``, ``limit``, and ``pause --queue``."""

import json
import re


def rows(run):
    assert run.returncode == 0, run.stderr
    return [re.split('  +', line.strip())
            for line in run.stdout.splitlines()[1:]]


def test_one_queue_rests(ask):
    ask('pause')
    slow = ask('add', 'echo', '1', '--queue', 'slow').stdout.strip()
    ask('add', 'echo', '2')
    run = ask('pause', '--queue', 'slow', '--reason', 'too much', '--for',
              '3600')
    assert re.fullmatch('paused: no further job of the queue slow is started '
                        'until .+\n', run.stdout), run.stdout
    default, paused = rows(ask('queues'))
    assert default[:3] == ['default', '1', 'no']
    assert paused[:3] == ['slow', '1', 'yes'] and paused[-1] == 'too much'
    assert [line[0] for line in rows(ask('list', '--queue', 'slow'))] == [slow]
    assert json.loads(ask('show', slow, '--json').stdout)['queue'] == 'slow'
    assert ask('resume', '--queue', 'slow').returncode == 0
    assert json.loads(ask('queues', '--json').stdout)['queues'][1][
        'paused'] is False


def test_a_queue_that_there_is_not(ask):
    for verb in ('pause', 'resume'):
        run = ask(verb, '--queue', 'unknown')
        assert run.returncode == 1 and "no queue 'unknown'" in run.stderr


def test_limits(ask):
    assert ask('limits').stdout.split() == [
        'limit', 'of', 'name', 'at', 'once', 'rate', 'said', 'by', 'running',
        'waiting']
    assert rows(ask('limit', 'echo', '--at-once', '3', '--rate', '100/60')) \
        == [['task', 'echo', '3', '100 in 60 s', 'people', '0', '0']]
    assert rows(ask('limit', '--key', 'k', '--at-once', '2'))[0] == [
        'key', 'k', '2', 'any', 'people', '0', '0']
    assert rows(ask('limit', 'echo', '--none'))[1] == [
        'task', 'echo', 'any', 'any', 'people', '0', '0']
    ask('limit', 'echo', '--unset')
    found = json.loads(ask('limit', '--key', 'k', '--unset', '--json').stdout)
    assert found == {'limits': []}


def test_limits_that_cannot_be(ask):
    for arguments, code, named in (
            (['echo'], 2, '--at-once'),
            (['--at-once', '1'], 2, 'TASK or --key'),
            (['echo', '--key', 'k', '--at-once', '1'], 2, 'TASK or --key'),
            (['echo', '--at-once', '0'], 2, '0'),
            (['echo', '--rate', 'often'], 2, "'often' is no rate"),
            (['echo', '--rate', '0/5'], 1, 'rate is'),
            (['echo', '--unset', '--none'], 2, '--unset'),
            (['--key', 'k' * 201, '--at-once', '1'], 1, 'concurrencyKey')):
        run = ask('limit', *arguments)
        assert run.returncode == code, (arguments, run.stderr)
        assert named in run.stderr and 'Traceback' not in run.stderr
    assert rows(ask('limits')) == []


def test_a_concurrency_key_and_a_key_until(ask):
    ask('pause')
    jobid = ask('add', 'echo', '1', '--concurrency-key', 'c', '--key', 'k',
                '--key-until', 'started').stdout.strip()
    assert json.loads(ask('show', jobid, '--json').stdout)[
        'concurrencyKey'] == 'c'
    run = ask('add', 'echo', '1', '--key-until', 'started')
    assert run.returncode == 2 and '--key' in run.stderr


def test_workers_of_some_queues(serve, remotetask, tmp_path):
    own = serve('--port', '0', '--data', 'data').ready()
    assert own.stop() == 0
    uri = f'file://{tmp_path}/data/Data.fs'
    run = remotetask('worker', '--db', uri, '--queue', 'a.b')
    assert run.returncode == 1 and "queue is 'a.b'" in run.stderr
    run = remotetask('worker', '--db', uri, '--queue', 'a', '--not-queue', 'a')
    assert run.returncode == 1 and 'serves no queue' in run.stderr

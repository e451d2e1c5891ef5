"""`remotetask demo`: real work on real files, checked from outside."""

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lovely.remotetask
from lovely.remotetask.cli.demo import files

DEADLINE = 120


def places(output):
    manifest = Path(re.search(r'^Manifest: (\S+)', output, re.M)[1])
    copies = Path(re.search(r'^Copies: +(\S+)', output, re.M)[1])
    return manifest, copies


def check(manifest, copies, base, names):
    """Everything the demo claims, looked at from outside."""
    lines = manifest.read_text().splitlines()
    listed = dict(reversed(line.split('  ', 1)) for line in lines)
    assert sorted(listed) == sorted(names)
    for name in names:
        content = (base / name).read_bytes()
        assert listed[name] == hashlib.sha256(content).hexdigest()
        assert gzip.decompress((copies / f'{name}.gz').read_bytes()) \
            == content


def test_without_files_it_takes_its_own_source():
    found = files.collect(())
    base = Path(lovely.remotetask.__file__).parent
    assert found.base == base
    assert found.names == sorted(
        str(path.relative_to(base)) for path in base.rglob('*.py'))


def test_once_does_its_job_on_files_and_directories(remotetask, tmp_path):
    (tmp_path / 'd' / 'e').mkdir(parents=True)
    contents = {'a b.txt': b'', 'bär.bin': bytes(range(256)) * 5000,
                '-dash': b'x', 'd/e/f': b'same', 'd/g': b'same'}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    run = remotetask('demo', '--once', '--', 'a b.txt', 'bär.bin', '-dash',
                     'd')
    assert run.returncode == 0, (run.stdout, run.stderr)
    check(*places(run.stdout), tmp_path, list(contents))
    assert '10 of 10 jobs are completed' in run.stdout
    assert '5 of 5 copies' in run.stdout
    # Not on a terminal: no bar that draws itself over and over.
    assert '\r' not in run.stdout
    assert '\x1b' not in run.stdout
    # The server's own data is gone.
    assert sorted(path.name for path in places(run.stdout)[0].parent
                  .iterdir()) == ['copies', 'manifest.sha256']


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['missing'], 'missing: No such file'),
    (['there', 'missing'], 'missing: No such file'),
    (['empty'], 'no files'),
    (['pipe'], 'no regular file'),
    (['new\nline'], 'rename it'),
])
def test_file_that_cannot_be_used(remotetask, tmp_path, arguments, reason):
    (tmp_path / 'there').write_text('x')
    (tmp_path / 'new\nline').write_text('x')
    (tmp_path / 'empty').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    run = remotetask('demo', '--once', *arguments)
    assert run.returncode == 1
    assert run.stdout == ''
    assert run.stderr.count('\n') == 1
    assert re.search(reason, run.stderr)


def test_a_job_that_fails_is_told_and_the_exit_code_is_1(environ, tmp_path):
    """A file that vanishes once it has been looked at."""
    (tmp_path / 'here').write_text('x')
    (tmp_path / 'gone').write_text('x')
    program = '''
import sys
from pathlib import Path
from lovely.remotetask.cli import main
from lovely.remotetask.cli.demo import files as demo_files
collect = demo_files.collect
def vanishing(given):
    files = collect(given)
    Path('gone').unlink()
    return files
demo_files.collect = vanishing
sys.exit(main(['demo', '--once', 'here', 'gone']))
'''
    run = subprocess.run([sys.executable, '-c', program], env=environ,
                         cwd=tmp_path, capture_output=True, text=True,
                         timeout=DEADLINE)
    assert run.returncode == 1, (run.stdout, run.stderr)
    assert '2 of 4 jobs are completed' in run.stdout
    assert re.search(r'^Problem:  manifest of gone: job \d+ is .error.',
                     run.stderr, re.M)
    assert re.search(r'^Problem:  copy of gone: ', run.stderr, re.M)
    manifest, copies = places(run.stdout)
    check(manifest, copies, tmp_path, ['here'])


def test_without_once_the_server_stays_until_ctrl_c(environ, tmp_path,
                                                    remotetask):
    (tmp_path / 'file').write_text('x')
    demo = subprocess.Popen(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'demo', 'file'],
        env=environ, cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        said = ''
        for line in demo.stdout:
            said += line
            if 'remotetask tasks --url' in line:
                break
        url = re.search(r'remotetask tasks --url (\S+)', said)[1]
        run = remotetask('add', 'echo', '{"hello": "world"}', '--wait',
                         '--url', url)
        assert run.stdout == '{"hello": "world"}\n', run.stderr
        assert 'demo.compress' in remotetask('list', '--url', url).stdout
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=DEADLINE)
        assert (demo.returncode, errors) == (0, '')
    finally:
        demo.kill()
        demo.wait()
    manifest, copies = places(said)
    check(manifest, copies, tmp_path, ['file'])


def test_interrupted_it_leaves_nothing_behind(environ, tmp_path):
    big = tmp_path / 'big'
    big.mkdir()
    for number in range(200):
        (big / str(number)).write_bytes(b'x' * 1000)
    own = tmp_path / 'tmp'
    own.mkdir()
    demo = subprocess.Popen(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'demo', '--once',
         'big'], env=environ | {'TMPDIR': str(own)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True)
    for line in demo.stdout:
        if line.startswith('A client process'):
            break
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=DEADLINE)
    assert demo.returncode == 130
    assert errors == 'remotetask: interrupted\n'
    assert list(own.iterdir()) == []

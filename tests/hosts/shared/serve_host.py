"""`remotetask serve`, as a host of the pages and as the one to compare with.
"""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import web_tasks
from web_host import WebHost

LINE = re.compile(r'http://127\.0\.0\.1:(\d+)/tasks/login\?code=(\S+)')


@contextmanager
def serving(place):
    """Run a server with the tasks of web_tasks.

    Gives: a WebHost; its ``links['login']`` is the path that the server has
    printed.
    """
    web_tasks.install(place)
    environ = {name: value for name, value in os.environ.items()
               if not name.startswith('REMOTETASK_')}
    process = subprocess.Popen(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'serve', '--data',
         'data', '--port', '0', '--threads', '1', '--tasks', 'web_tasks'],
        cwd=place, stdout=subprocess.PIPE, text=True, env=environ | {
            'XDG_RUNTIME_DIR': str(place), 'HOME': str(place)})
    try:
        printed = ''
        while not (found := LINE.search(printed)):
            line = process.stdout.readline()
            assert line, printed
            printed += line
        token = (place / 'data' / 'token').read_text().strip()
        yield WebHost(
            'serve', int(found[1]), '/tasks',
            {'anonymous': {}, 'manager': {'Authorization': f'Bearer {token}'}},
            links={'login': f'/tasks/login?code={found[2]}'})
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()

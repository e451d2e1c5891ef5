"""Sends thousands of requests that the OpenAPI document allows, and others.

    python tests/surfaces/run_schemathesis.py serve|pyramid [--examples 120]
                                              [--python PATH]

Starts a real server, and has schemathesis compare each answer with the
document; exits with 1 if an answer has a status of 500 or more, or is not what
the document says.  It prints how many requests there were.  ``--python`` names
the interpreter of the server, by default the one that runs this.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

APPLICATION = '''
import sys

import waitress
from pyramid.config import Configurator

from lovely.remotetask.task import EchoTask


class Policy:
    """Lets one account do everything."""

    def identity(self, request):
        given = request.headers.get('Authorization')
        return 'tester' if given == 'Bearer tester' else None

    authenticated_userid = identity

    def permits(self, request, context, permission):
        return self.identity(request) is not None


settings = {'zodbconn.uri': f'file://{sys.argv[1]}/Data.fs',
            'remotetask.autostart': 'true'}
with Configurator(settings=settings, security_policy=Policy()) as config:
    for name in ('pyramid_tm', 'pyramid_retry', 'pyramid_zodbconn',
                 'lovely.remotetask.pyramid'):
        config.include(name)
    config.add_task_service()
    config.add_remote_task('echo', EchoTask())
    config.add_remotetask_web('/admin/remotetasks')
    application = config.make_wsgi_app()
server = waitress.create_server(application, host='127.0.0.1', port=0)
print(f'serving http://127.0.0.1:{server.effective_port}/admin/remotetasks',
      flush=True)
server.run()
'''

# Half of what is sent names the task that is there.
HOOKS = '''
import schemathesis


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get('task'), str):
        return {**body, 'task': 'echo'} if len(str(body)) % 2 else body
    return body


@schemathesis.hook
def map_path_parameters(context, parameters):
    if parameters and 'name' in parameters and len(str(parameters)) % 2:
        return {**parameters, 'name': 'echo'}
    return parameters
'''

# That data of the right form are accepted: no document can tell which tasks,
# cursors and jobs there are.
_NOT_CHECKED = 'positive_data_acceptance'


@contextlib.contextmanager
def serving(host, place, python):
    """A server; gives the address of the pages, and the token."""
    data = place / 'data'
    data.mkdir(mode=0o700)
    if host == 'serve':
        command = ['-m', 'lovely.remotetask.cli', 'serve', '--data',
                   str(data), '--port', '0']
    else:
        (place / 'application.py').write_text(APPLICATION)
        command = [str(place / 'application.py'), str(data)]
    with open(place / 'log', 'w') as log:
        process = subprocess.Popen(
            [python, *command], cwd=place, text=True, stderr=log,
            stdout=subprocess.PIPE,
            env=os.environ | {'XDG_RUNTIME_DIR': str(place)})
    try:
        line = process.stdout.readline()
        found = re.search(r'serving (\S+)', line)
        assert found, (line, (place / 'log').read_text())
        token = ('tester' if host == 'pyramid'
                 else (data / 'token').read_text().strip())
        yield found[1], token
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def main(arguments):
    options = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    options.add_argument('host', choices=('serve', 'pyramid'))
    options.add_argument('--examples', type=int, default=120)
    options.add_argument('--seed', default='')
    options.add_argument('--python', default=sys.executable)
    given = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with serving(given.host, place, given.python) as (address, token):
            (place / 'hooks.py').write_text(HOOKS)
            ended = subprocess.run(
                [str(Path(sys.executable).with_name('schemathesis')), 'run',
                 f'{address}/openapi.json', '--url', f'{address}/api/v1',
                 '--header', f'Authorization: Bearer {token}',
                 '--max-examples', str(given.examples),
                 '--exclude-checks', _NOT_CHECKED,
                 '--suppress-health-check', 'all', '--continue-on-failure',
                 *(['--seed', given.seed] if given.seed else []),
                 '--no-color'], cwd=place, text=True, stdout=subprocess.PIPE,
                env=os.environ | {'SCHEMATHESIS_HOOKS': 'hooks',
                                  'PYTHONPATH': str(place)})
        told = (place / 'log').read_text()
    print(ended.stdout)
    found = re.search(r'(\d+) generated', ended.stdout)
    tracebacks = told.count('Traceback')
    print(f'{given.host}: {found[1] if found else 0} test cases, '
          f'{tracebacks} tracebacks in the log of the server')
    if tracebacks:
        print(told[-5000:])
    return 1 if ended.returncode or not found or tracebacks else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

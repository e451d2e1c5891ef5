"""``remotetask demo``: a server, a client and real jobs, with checked results.

This process is the server.  A second one, which knows only the URL and the
token, submits the jobs over XML-RPC and reports their ends; a thread of this
process shows that, and checks the results against the files.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lovely.remotetask.cli import server
from lovely.remotetask.cli.demo import files as demo_files
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import one_line

#: How many threads work on the files.
THREADS = 2


@click.command('demo')
@click.option('--once', is_flag=True,
              help='End when all is done: with 0, or 1 if anything failed.')
@click.argument('files', nargs=-1, type=click.Path(path_type=Path))
def demo_command(once: bool, files: tuple[Path, ...]) -> None:
    """Start a server in a temporary directory and have it do real jobs.

    Each of FILES (directories are searched; by default this program's own
    source) gets a line in a SHA-256 manifest and a compressed copy, by two
    jobs that a separate client process submits over XML-RPC.
    """
    found = demo_files.collect(files)
    work = Path(tempfile.mkdtemp(prefix='remotetask-demo-'))
    show = _Show(found, work, once)
    try:
        server.run(
            server.Options(data=work / 'data', port=0, threads=THREADS,
                            modules=['lovely.remotetask.cli.demo.tasks']),
            show.start)
        show.end()
    finally:
        # The user may look at the results; the server's own data is of no
        # use without the server.
        shutil.rmtree(work / 'data' if show.finished else work,
                      ignore_errors=True)


class _Show:
    """Runs the client process and shows its progress, in a thread."""

    def __init__(self, files: demo_files.Files, work: Path, once: bool
                 ) -> None:
        self.finished = False   # the results lie there
        self._files = files
        self._work = work
        self._once = once
        self._problems: list[str] = []
        self._error: Exception | None = None
        self._client: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._ended_it = False  # it was not the user's signal

    def start(self, address: server.Address) -> None:
        """The server is about to answer: send the client."""
        self._thread = threading.Thread(
            target=self._run, args=(address,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The server has ended.

        Raises: click.Abort where the user interrupted the work; Failure
        where a job or the client failed.
        """
        if self._client is not None:
            self._client.terminate()
        if self._thread is not None:
            self._thread.join()
        # An error that came because the server was ending is no news.
        if not self.finished and not self._ended_it:
            raise click.Abort
        if self._error is not None:
            raise self._error
        if self._problems:
            raise Failure(f'{len(self._problems)} problem(s), the first: '
                          f'{self._problems[0]}')

    def _run(self, address: server.Address) -> None:
        try:
            self._present(address)
        except Exception as error:
            self._error = error
        if self._once or self._error is not None:
            self._ended_it = address.stop()

    def _present(self, address: server.Address) -> None:
        started = time.monotonic()
        count = len(self._files.names)
        click.echo(f'A server runs at {address.url}')
        click.echo(f'Watch it in a browser: {address.login}')
        click.echo(f'A client process submits {2 * count} jobs: a SHA-256 '
                   f'and a compressed copy of {count} file(s)')
        reports = self._submit(address)
        took = time.monotonic() - started
        done = [report for report in reports
                if report['status'] == 'completed']
        self._problems += [
            f'{report["kind"]} of {report["name"]}: job {report["id"]} is '
            f'{report["status"]!r}: {cut(one_line(report["error"]))}'
            for report in reports if report['status'] != 'completed']
        hashes = {report['name']: report['result'] for report in done
                  if report['kind'] == 'manifest'}
        manifest = demo_files.write_manifest(
            self._work / 'manifest.sha256', hashes)
        checked = demo_files.check_copies(self._files, self._copies, hashes)
        self._problems += checked.problems
        self.finished = True
        click.echo(f'{len(done)} of {2 * count} jobs are completed, in '
                   f'{took:.1f} s')
        click.echo(f'Manifest: {manifest} ({len(hashes)} files, '
                   f'{sum(entry["bytes"] for entry in hashes.values()):,} '
                   f'bytes)')
        click.echo(f'Copies:   {self._copies} ({checked.good} files, '
                   f'{checked.bytes_in:,} bytes in, {checked.bytes_out:,} '
                   f'bytes out)')
        click.echo(f'Checked:  {checked.good} of {count} copies unpack to '
                   f'the SHA-256 of the manifest and of the file')
        for problem in self._problems:
            click.echo(f'Problem:  {problem}', err=True)
        if not self._once:
            self._suggest(address, manifest)

    def _submit(self, address: server.Address) -> list[dict[str, Any]]:
        """Run the client.  Returns: its reports, one for each job."""
        request = {'files': [
            {'name': name, 'source': str(self._files.path(name)),
             'target': str(self._copies / f'{name}.gz')}
            for name in self._files.names]}
        for file in request['files']:
            Path(file['target']).parent.mkdir(parents=True, exist_ok=True)
        self._client = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli.demo.client',
             address.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            # Ctrl-C is for this process alone; it ends the client.
            start_new_session=True,
            # In the environment: every user of this machine could read an
            # argument.
            env={**os.environ, 'REMOTETASK_TOKEN': address.token})
        stdin, stdout = self._client.stdin, self._client.stdout
        stderr = self._client.stderr
        assert stdin is not None and stdout is not None
        assert stderr is not None
        # The exit code tells of a client that is gone already.
        with suppress(BrokenPipeError), stdin:
            json.dump(request, stdin)
        reports = []
        with stdout, click.progressbar(
                length=2 * len(self._files.names), label='Jobs') as bar:
            for line in stdout:
                report = json.loads(line)
                if 'status' in report:
                    reports.append(report)
                    bar.update(1)
        with stderr:
            # A few lines at most, which the pipe has held until now.
            errors = stderr.read().splitlines() or ['no message']
        code = self._client.wait()
        if code != 0:
            raise Failure(f'the client process ended with {code}: '
                          f'{errors[-1]}')
        return reports

    @property
    def _copies(self) -> Path:
        return self._work / 'copies'

    def _suggest(self, address: server.Address, manifest: Path) -> None:
        url = address.url.removesuffix('/tasks')
        click.echo('\nThe server stays up until Ctrl-C.  Try in another '
                   'terminal:')
        for command in (
                'add echo \'{"hello": "world"}\' --wait',
                'list --limit 5',
                'tasks'):
            click.echo(f'  remotetask {command} --url {url}')
        click.echo(f'  cd {self._files.base} && sha256sum --check --quiet '
                   f'{manifest}')
        sys.stdout.flush()

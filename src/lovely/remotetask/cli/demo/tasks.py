"""The tasks of the demo: one in Python, one that is an external command.

The demo's server is one with ``--tasks lovely.remotetask.cli.demo.tasks``.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from zope.component import provideUtility

from lovely.remotetask.commands import CommandTask
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import task


@task(name='demo.sha256')
def sha256(input: dict[str, Any]) -> dict[str, Any]:
    """The SHA-256 and the size of the file ``input['source']``."""
    try:
        with open(input['source'], 'rb') as file:
            digest = hashlib.file_digest(file, 'sha256')
            return {'sha256': digest.hexdigest(), 'bytes': file.tell()}
    except OSError as error:
        # Trying again will not bring the file back: final at once.
        raise TaskError(f'cannot read {input["source"]}: '
                        f'{error.strerror}') from error


# Isolated (-I): the script needs none of the user's modules.  Paths are
# absolute, so none can be taken for an option.
compress = CommandTask(
    [sys.executable, '-I', str(Path(__file__).with_name('compress.py')),
     '{source}', '{target}'],
    timeout=600, remote=True)

# `scan` finds functions; an object has to be named to the registry.
provideUtility(compress, ITask, name='demo.compress')

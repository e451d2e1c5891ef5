"""The command line ``remotetask``: what a person types.

Only the standard library is imported here: without the extra ``[server]`` the
user reads a line that says so, and ``--help`` comes at once.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Arguments: ``arguments``, without the program's name; default sys.argv's.
    Returns: the exit code: 0 ok, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print('remotetask: the command line needs click, which is not '
              "installed; run: pip install 'lovely.remotetask[server]'",
              file=sys.stderr)
        return 1
    from lovely.remotetask.cli import program
    return program.run(sys.argv[1:] if arguments is None
                       else list(arguments))

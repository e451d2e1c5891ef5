"""Errors for people: one line that names the cause and the cure."""

from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.errors import ConfigurationError

#: The extras that bring a module, by its name.
EXTRA = {'click': 'server', 'waitress': 'server', 'webob': 'server',
         'zodburi': 'server', 'zope.configuration': 'zcml'}

#: The longest line (characters) about an error: causes, and their cure.
LINE_CHARS = 4 * 1024


class Failure(Exception):
    """The command cannot be done.

    Arguments: ``cause`` (str), the object and its trouble; ``cure`` (str),
    a remedy for the user.
    """

    def __init__(self, cause: str, cure: str = '') -> None:
        super().__init__(cause, cure)
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return f'{self.cause}; {self.cure}' if self.cure else self.cause


def _is_damaged(error: BaseException) -> bool:
    # Imported here and not above: `--help` does without the database.
    from lovely.remotetask.store.records import is_damaged

    return is_damaged(error)


def line(error: BaseException) -> str:
    """The line that the user reads about an error."""
    if not isinstance(error, Failure) and isinstance(
            error.__cause__, ConfigurationError):
        # ZODB wraps what a record has raised: a newer release wrote it.
        error = error.__cause__
    if isinstance(error, Failure | ConfigurationError):
        return cut(one_line(str(error)), LINE_CHARS)
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = EXTRA.get('.'.join(error.name.split('.')[:2]),
                          EXTRA.get(error.name.partition('.')[0]))
        if extra:
            return (f'this needs {error.name}, which is not installed; run: '
                    f"pip install 'lovely.remotetask[{extra}]'")
    if _is_damaged(error):
        return one_line(
            f'a record of this database is lost or damaged '
            f'({describe(error.__cause__ or error)}), and without it there is '
            f'no way to the task service; restore the database from a backup')
    return one_line(f'unexpected {describe(error)}; run it again with '
                    f'--debug for the whole story')


def reason(error: OSError) -> str:
    """The message of the operating system, without number and path."""
    return error.strerror or str(error)

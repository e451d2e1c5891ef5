"""What comes from elsewhere is one line, and without passwords."""

import pytest

from lovely.remotetask.texts import describe
from lovely.remotetask.texts import one_line
from lovely.remotetask.texts import without_passwords


def test_line_breaks_and_control_characters_become_a_space():
    assert one_line('a\n    b\r\n\tc\x1b[2J  d\x9f\n') == 'a b c [2J  d'


@pytest.mark.parametrize('text, hidden', [
    ('postgres://jane:secret@host/db', 'postgres://jane:***@host/db'),
    ('cannot open postgres://jane:my secret@host/db: refused',
     'cannot open postgres://jane:***@host/db: refused'),
    ("host=a user=b password=secret dbname=c",
     'host=a user=b password=*** dbname=c'),
    ("password = 'my secret' dbname=c", 'password = *** dbname=c'),
    ('zeo://host:8100?passwd=secret&x=1', 'zeo://host:8100?passwd=***&x=1'),
    ('http://host:8080/tasks', 'http://host:8080/tasks')])
def test_passwords_are_hidden(text, hidden):
    assert without_passwords(text) == hidden


def test_an_error_is_described_in_a_line():
    assert describe(ValueError('no\nway to x://a:b@c')) == (
        'ValueError: no way to x://a:***@c')
    assert describe(KeyboardInterrupt()) == 'KeyboardInterrupt'

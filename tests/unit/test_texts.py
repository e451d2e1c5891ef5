"""What comes from elsewhere is one line, and without passwords."""

import io
import logging
import time

import pytest

from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.texts import cut
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import message_of
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.edge.texts import some_lines
from lovely.remotetask.edge.texts import without_passwords


def test_line_breaks_and_control_characters_become_a_space():
    assert one_line('a\n    b\r\n\tc\x1b[2J  d\x9f\n') == 'a b c [2J  d'


@pytest.mark.parametrize('text, hidden', [
    ('postgres://jane:secret@host/db', 'postgres://jane:***@host/db'),
    ('cannot open postgres://jane:my secret@host/db: refused',
     'cannot open postgres://jane:***@host/db: refused'),
    ("host=a user=b password=secret dbname=c",
     'host=a user=b password=*** dbname=c'),
    ("password = 'my secret' dbname=c", 'password = *** dbname=c'),
    (r"host='x' password='my\'s secret' dbname=c",
     "host='x' password=*** dbname=c"),
    (r"password='a\\\\' dbname=c", 'password=*** dbname=c'),
    ('zeo://host:8100?passwd=secret&x=1', 'zeo://host:8100?passwd=***&x=1'),
    ('http://host:8080/tasks', 'http://host:8080/tasks')])
def test_passwords_are_hidden(text, hidden):
    assert without_passwords(text) == hidden


def test_an_error_is_described_in_a_line():
    assert describe(ValueError('no\nway to x://a:b@c')) == (
        'ValueError: no way to x://a:***@c')
    assert describe(KeyboardInterrupt()) == 'KeyboardInterrupt'


def test_what_no_log_can_hold_is_replaced():
    assert one_line('a\ud800b\u2028c\u202ed') == 'a\ufffdb c\ufffdd'


def test_many_spaces_cost_no_more_than_other_characters():
    began = time.process_time()
    assert one_line(' ' * 200_000 + 'x') == 'x'
    assert time.process_time() - began < 5


def test_a_long_text_is_cut_and_says_so():
    assert cut('x' * 10, 10) == 'x' * 10
    assert cut('x' * 1234, 10) == 'xxxxxxxxxx... (1,234 characters)'
    assert len(describe(ValueError('x' * 1_000_000))) < 2000


def test_of_many_lines_the_first_and_the_last_are_kept():
    text = '\n'.join(f'  line {number}\0' for number in range(10_000))
    kept = some_lines(text, 1000)
    assert len(kept) < 1100
    assert kept.startswith('  line 0\n  line 1\n')
    assert kept.endswith('\n  line 9999')
    assert '\n...\n' in kept
    assert some_lines('a\n  b\n', 1000) == 'a\n  b\n'


def test_a_record_that_cannot_be_made_is_left_to_the_handlers():
    record = log.makeRecord(
        log.name, logging.ERROR, __file__, 1, '%s %s', ('one',), None)
    assert log.filter(record)
    assert record.msg == '%s %s'


def test_a_log_keeps_what_is_fit(caplog):
    class Own(logging.Formatter):
        def formatException(self, info):
            return 'in its own way'

    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(Own())
    log.addHandler(handler)
    try:
        log.warning('100 %% of %s', 'it', exc_info=ValueError('why'))
    finally:
        log.removeHandler(handler)
    [record] = caplog.records
    assert (record.msg, record.args) == ('100 %% of %s', ('it',))
    assert handler.stream.getvalue() == '100 % of it\nin its own way\n'


def test_the_notes_of_an_error_are_told():
    error = ValueError('no')
    error.add_note('scan its\nmodule')
    error.add_note('postgresql://me:secret@db/')
    assert describe(error) == (
        'ValueError: no (scan its module; postgresql://me:***@db/)')
    assert message_of(error) == (
        'no (scan its module; postgresql://me:***@db/)')
    silent = ValueError()
    silent.add_note('look there')
    assert describe(silent) == 'ValueError: look there'
    # An application may have put anything there.
    error.__notes__ = 5
    assert message_of(error) == 'no'
    error.__notes__ = [5, 'x' * 5000]
    assert len(message_of(error)) < 1100

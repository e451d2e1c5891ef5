"""When cron jobs run: 0.5.2's results and its faults.

tests/engine/property looks at them by brute force.
"""

import calendar
import time
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import Rule
from lovely.remotetask.schedule.rule import check_delay

NAMES = ('minute', 'hour', 'dayOfMonth', 'month', 'dayOfWeek')
LAST = 253402300799  # the last second of the year 9999


def at(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp())


def after(now, **fields):
    """The next time as (year, month, day, hour, minute)."""
    found = Rule(check_fields(**fields)).next_time(now)
    assert type(found) is int
    moment = datetime.fromtimestamp(found, UTC)
    assert moment.second == 0
    return moment.timetuple()[:5]


# --- the results of 0.5.2 ----------------------------------------------------

@pytest.mark.parametrize('fields, now, expected', [
    ({'minute': (0, 10)}, 0, 600),
    ({'minute': (0, 10)}, 600, 3600),
    ({'hour': (2, 13)}, 0, 2 * 3600),
    ({'hour': (2, 13)}, 2 * 3600, 13 * 3600),
    ({'month': (1, 5, 12)}, 0, at(1970, 5, 1)),
    ({'minute': (10,), 'hour': (4,), 'dayOfMonth': (1, 12, 21, 30)}, 0,
     at(1970, 1, 1, 4, 10)),
    ({'minute': (10,), 'hour': (4,), 'dayOfMonth': (1, 12, 21, 30)},
     at(1970, 1, 1, 4, 10), at(1970, 1, 12, 4, 10)),
    # 0 is Monday, and 1 January 1970 was a Thursday.
    ({'dayOfWeek': (0,)}, 0, at(1970, 1, 5)),
    # All have to match: the first Monday of March is no first of March.
    ({'month': (3,), 'dayOfWeek': (0,)}, 0, at(1970, 3, 2)),
    # The first Friday that is a 13th.
    ({'dayOfMonth': (13,), 'dayOfWeek': (4,)}, 0, at(1970, 2, 13)),
])
def test_documented_result(fields, now, expected):
    assert Rule(check_fields(**fields)).next_time(now) == expected


def test_no_fields_is_no_schedule():
    # 0.5.2: every minute for ever.
    assert Rule(check_fields()).next_time(0) is None


# --- the faults of 0.5.2 -----------------------------------------------------

def test_remainder_of_now_is_dropped():
    # 0.5.2: 11:00:23, and later with every run.
    now = at(2024, 3, 5, 10, 7, 23) + 0.75
    assert after(now, minute=(0,)) == (2024, 3, 5, 11, 0)
    assert after(now, hour=(10,)) == (2024, 3, 6, 10, 0)
    assert after(now, dayOfMonth=(5,)) == (2024, 4, 5, 0, 0)


def test_strictly_after_now():
    now = at(2024, 3, 5, 10, 0)
    assert after(now, minute=(0,)) == (2024, 3, 5, 11, 0)
    assert after(now - 0.001, minute=(0,)) == (2024, 3, 5, 10, 0)


def test_february_from_31_january():
    # 0.5.2: 3 February of the next year.
    assert after(at(2023, 1, 31, 12), month=(2,)) == (2023, 2, 1, 0, 0)


@pytest.mark.parametrize('now, year', [
    ((2024, 2, 28, 23, 59), 2024),
    # At its own run; 0.5.2 span there.
    ((2024, 2, 29), 2028),
    ((2025, 1, 1), 2028),
    # 2100 is no leap year, 2000 was one.
    ((2096, 2, 29), 2104),
    ((1999, 12, 31), 2000),
])
def test_29_february(now, year):
    assert after(at(*now), dayOfMonth=(29,), month=(2,)) == (
        year, 2, 29, 0, 0)


def test_the_31st_skips_short_months():
    assert after(at(2023, 1, 31), dayOfMonth=(31,)) == (2023, 3, 31, 0, 0)


@pytest.mark.parametrize('days, months, said', [
    ((30,), (2,), 'dayOfMonth 30 never occurs in month 2'),
    ((31, 30), (2,), 'dayOfMonth 30 never occurs in month 2'),
    ((31,), (4, 6, 9, 11), 'dayOfMonth 31 never occurs in month 4, 6, 9, 11'),
])
def test_dates_that_no_year_has(days, months, said):
    # 0.5.2 searched them minute by minute, at 100 % CPU.
    with pytest.raises(InvalidSchedule) as caught:
        check_fields(dayOfMonth=days, month=months)
    assert str(caught.value) == said
    assert isinstance(caught.value, ValueError)


def test_one_month_that_has_the_day_is_enough():
    assert after(0, dayOfMonth=(30, 31), month=(2, 4)) == (
        1970, 4, 30, 0, 0)


def test_a_rare_date_costs_little():
    fields = check_fields((5,), (4,), (29,), (2,), (6,))
    started = time.perf_counter()
    for year in range(1970, 2370):
        Rule(fields).next_time(at(year, 3, 1))
    # 0.5.2 needed 0.5 s for one that it did not find.
    assert (time.perf_counter() - started) / 400 < 0.01


@pytest.mark.parametrize('name, value', [
    ('minute', 60), ('minute', -1), ('minute', '0'), ('minute', 0.0),
    ('minute', None), ('minute', True), ('hour', 24), ('dayOfMonth', 0),
    ('dayOfMonth', 32), ('month', 0), ('month', 13), ('dayOfWeek', 7),
    ('dayOfWeek', 'MON')])
def test_impossible_value_is_named(name, value):
    with pytest.raises(InvalidSchedule) as caught:
        check_fields(**{name: (1, value)})
    assert str(caught.value).startswith(f'{name} contains {value!r}; give '
                                        f'whole numbers from ')


@pytest.mark.parametrize('values', ['05', b'05', 5, None])
@pytest.mark.parametrize('name', NAMES)
def test_what_is_no_tuple_is_named(name, values):
    with pytest.raises(InvalidSchedule) as caught:
        check_fields(**{name: values})
    assert str(caught.value).startswith(f'{name} is {values!r}; give a tuple')


def test_fields_come_out_sorted_once_and_as_int():
    fields = check_fields([10, 0, 10], {3}, range(1, 3), iter([2, 1]),
                          (calendar.FRIDAY, calendar.MONDAY))
    assert fields == ((0, 10), (3,), (1, 2), (1, 2), (0, 4))
    assert all(type(value) is int for values in fields for value in values)


# --- the end of time ---------------------------------------------------------

def test_far_times():
    # 0.5.2's times were 32-bit.
    assert after(at(2120, 1, 1), month=(7,)) == (2120, 7, 1, 0, 0)
    assert after(at(9999, 12, 31, 23, 58), minute=(59,)) == (
        9999, 12, 31, 23, 59)


def test_after_the_last_year():
    assert Rule(check_fields(month=(1,))).next_time(LAST) is None
    assert Rule(check_fields(minute=(0,))).next_time(
        at(9999, 12, 31, 23)) is None
    for now in (LAST + 1, 1e30, float('inf'), float('nan')):
        with pytest.raises((ValueError, OverflowError)):
            Rule(check_fields(month=(1,))).next_time(now)


def test_before_1970():
    assert after(-1, minute=(0,)) == (1970, 1, 1, 0, 0)
    assert after(at(1968, 2, 28), dayOfMonth=(29,)) == (1968, 2, 29, 0, 0)


# --- delays ------------------------------------------------------------------

@pytest.mark.parametrize('delay', [None, 0, 0.5, 10, 100 * 365 * 86400])
def test_delays(delay):
    check_delay(delay)


@pytest.mark.parametrize('delay', [
    -1, '10', True, float('nan'), float('inf'), (1,), timedelta(1)])
def test_delays_that_cannot_be(delay):
    with pytest.raises(InvalidSchedule) as caught:
        check_delay(delay)
    assert str(caught.value).startswith(f'delay is {delay!r}; give')

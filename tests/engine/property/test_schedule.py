"""When cron jobs run: against brute force, minute by minute."""

from datetime import UTC
from datetime import datetime
from datetime import timedelta

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import Rule


def at(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp())


def matches(fields, moment):
    """The rules of 0.5.2, for one minute."""
    minute, hour, day, month, week_day = fields
    # Fields that are finer than the smallest one given: at their minimum.
    if not minute:
        minute = (0,)
        if not hour:
            hour = (0,)
            if not day and not week_day:
                day = (1,)
    return all(not wanted or is_ in wanted for wanted, is_ in (
        (minute, moment.minute), (hour, moment.hour), (day, moment.day),
        (month, moment.month), (week_day, moment.weekday())))


def brute_force(fields, now, minutes):
    """The first match, minute by minute, of so many minutes; or None."""
    start = (int(now // 60) + 1) * 60
    moment = datetime.fromtimestamp(start, UTC)
    for _ in range(minutes):
        if matches(fields, moment):
            return int(moment.timestamp())
        moment += timedelta(minutes=1)
    return None


def some(low, high):
    # Often none: which fields are given decides the granularity.
    return st.just(()) | st.sets(st.integers(low, high),
                                 max_size=4).map(tuple)


def possible(fields):
    try:
        return check_fields(*fields)
    except InvalidSchedule:
        return None


FIELDS = (st.tuples(some(0, 59), some(0, 23), some(1, 31), some(1, 12),
                    some(0, 6))
          .map(possible).filter(bool).filter(any))
NOW = st.one_of(
    st.integers(0, 2**33), st.floats(0, 2**33),
    # Around midnights, month ends and leap days, aligned and not.
    st.builds(lambda year, month, day, offset: at(year, month, day) + offset,
              st.integers(1970, 2105), st.integers(1, 12),
              st.sampled_from([1, 28]), st.integers(-90, 3 * 86400)),
    st.integers(0, 2**27).map(lambda n: n * 60))


@settings(max_examples=150, deadline=None)
@given(FIELDS, NOW)
def test_first_match_of_two_days(fields, now):
    window = 2 * 24 * 60
    expected = brute_force(fields, now, window)
    found = Rule(fields).next_time(now)
    if expected is None:
        assert found >= (now // 60 + window) * 60
    else:
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(FIELDS, NOW)
def test_what_is_found_matches_and_nothing_just_before(fields, now):
    found = Rule(fields).next_time(now)
    assert found > now
    assert matches(fields, datetime.fromtimestamp(found, UTC))
    assert found % 60 == 0
    window = 24 * 60
    start = max(now, found - window * 60)
    assert brute_force(fields, start, window) == found


@settings(max_examples=150, deadline=None)
@given(FIELDS, NOW)
def test_first_match_of_nine_years(fields, now):
    # Nine: from the leap day of 2096 the next one is eight years away.
    start = datetime.fromtimestamp(now, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0)
    found = Rule(fields).next_time(now)
    for number in range(9 * 366):
        day = start + timedelta(number)
        if not any(matches(fields, day.replace(hour=h, minute=m))
                   for h in fields[1] or (0,) for m in fields[0] or (0,)):
            continue
        expected = brute_force(fields, max(now, day.timestamp() - 1), 24 * 60)
        # On the first day it may be over.
        if expected is not None:
            assert found == expected
            return
    assert found > (start + timedelta(9 * 366)).timestamp()


@settings(max_examples=50, deadline=None)
@given(FIELDS, NOW)
def test_a_run_leads_to_the_next_one(fields, now):
    # 0.5.2 found 29 February again and again at its own run.
    times = [now]
    for _ in range(5):
        times.append(Rule(fields).next_time(times[-1]))
    assert times == sorted(set(times))


def test_29_february_of_a_week_day_is_at_most_40_years_away():
    for year in range(1972, 2400, 4):
        for week_day in range(7):
            found = datetime.fromtimestamp(Rule(check_fields(
                dayOfMonth=(29,), month=(2,), dayOfWeek=(week_day,))
                ).next_time(at(year, 2, 28)), UTC)
            assert (found.month, found.day) == (2, 29)
            assert found.year - year <= 40
            assert found.weekday() == week_day

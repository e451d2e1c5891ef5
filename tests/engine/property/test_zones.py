"""Schedules in time zones, against a minute by minute count of real time.

Every change of the clocks of every zone that zoneinfo knows, 2010 to 2040.
"""

from collections import Counter
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from zoneinfo import ZoneInfo
from zoneinfo import available_timezones

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lovely.remotetask.schedule.crontab import check_crontab
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import Rule

FIRST = int(datetime(2010, 1, 1, tzinfo=UTC).timestamp())
LAST = int(datetime(2040, 12, 31, tzinfo=UTC).timestamp())
DAY = 86400

# A crontab string, what it means (by minute, hour, day, month and day of the
# week with Sunday as 0), and whether it names fixed times.
CRONTABS = (
    ('* * * * *', lambda m, h, d, n, w: True, False),
    ('*/10 * * * *', lambda m, h, d, n, w: m % 10 == 0, False),
    ('*/7 * * * *', lambda m, h, d, n, w: m % 7 == 0, False),
    ('15 * * * *', lambda m, h, d, n, w: m == 15, False),
    ('0 */2 * * *', lambda m, h, d, n, w: m == 0 and h % 2 == 0, False),
    ('*/30 2 * * *', lambda m, h, d, n, w: m % 30 == 0 and h == 2, False),
    ('45 */3 * * *', lambda m, h, d, n, w: m == 45 and h % 3 == 0, False),
    ('*/20 1-3 * * 0', lambda m, h, d, n, w:
        m % 20 == 0 and 1 <= h <= 3 and w == 0, False),
    ('@hourly', lambda m, h, d, n, w: m == 0, False),
    ('30 2 * * *', lambda m, h, d, n, w: (m, h) == (30, 2), True),
    ('0 2 * * *', lambda m, h, d, n, w: (m, h) == (0, 2), True),
    ('0 3 * * *', lambda m, h, d, n, w: (m, h) == (0, 3), True),
    ('59 1 * * *', lambda m, h, d, n, w: (m, h) == (59, 1), True),
    ('0,15,45 0-4 * * *', lambda m, h, d, n, w:
        m in (0, 15, 45) and h <= 4, True),
    ('30 0 * * *', lambda m, h, d, n, w: (m, h) == (30, 0), True),
    ('0 0-23 * * *', lambda m, h, d, n, w: m == 0, True),
    ('10 1 * * SUN', lambda m, h, d, n, w: (m, h, w) == (10, 1, 0), True),
    ('30 2 25-31 3,10 *', lambda m, h, d, n, w:
        (m, h) == (30, 2) and d >= 25 and n in (3, 10), True),
    ('15 2 1-7 * 0', lambda m, h, d, n, w:
        (m, h) == (15, 2) and (d <= 7 or w == 0), True),
    ('@daily', lambda m, h, d, n, w: (m, h) == (0, 0), True),
)


def offset(zone, at):
    return int(datetime.fromtimestamp(at, zone).utcoffset().total_seconds())


def changes(zone):
    """The moments at which the clocks of a zone are set."""
    low, before = FIRST, offset(zone, FIRST)
    while low < LAST:
        high = low + 7 * DAY
        if offset(zone, high) == before:
            low = high
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if offset(zone, middle) == before:
                low = middle
            else:
                high = middle
        yield high, before, offset(zone, high)
        low, before = high, offset(zone, high)


def different_changes():
    """Each change once, however many zones have it: -> one of these zones.

    What comes out depends on nothing but the moment and the two offsets.
    """
    found, count = {}, 0
    for name in sorted(available_timezones()):
        for change in changes(ZoneInfo(name)):
            count += 1
            found.setdefault(change, name)
    return found, count


def parts(wall):
    at = datetime(1970, 1, 1) + timedelta(seconds=wall)
    return at.minute, at.hour, at.day, at.month, at.isoweekday() % 7


def minutes_around(zone, change, before, after):
    """The real minutes, each with its time on the wall, and is it the second
    time; and the times that are skipped."""
    around, length = [], 5400 + abs(after - before) % DAY
    for at in range(change - 5400, change + length, 60):
        shown = datetime.fromtimestamp(at, zone)
        around.append((at, parts(at + offset(zone, at)), shown.fold))
    skipped = [parts(wall) for wall in
               range(change + before, change + after, 60)]
    return around, skipped


def counted(around, skipped, change, matches, fixed):
    if not fixed:
        return [at for at, wall, _ in around if matches(*wall)]
    runs = {at for at, wall, again in around if matches(*wall) and not again}
    if any(matches(*wall) for wall in skipped):
        runs.add(change)
    return sorted(runs)


def asked(rule, first, last):
    runs, at = [], rule.next_time(first - 1)
    while at is not None and at <= last:
        runs.append(at)
        at = rule.next_time(at)
    return runs


def test_every_change_of_every_zone(capsys):
    found, count = different_changes()
    differences, windows, runs = Counter(), 0, 0
    for (change, before, after), name in found.items():
        zone = ZoneInfo(name)
        around, skipped = minutes_around(zone, change, before, after)
        for text, matches, fixed in CRONTABS:
            rule = Rule(cron=check_crontab(text), timezone=name)
            expected = counted(around, skipped, change, matches, fixed)
            windows += 1
            runs += len(expected)
            if asked(rule, around[0][0], around[-1][0]) != expected:
                differences[name, change, text] += 1
    with capsys.disabled():
        print(f'\n{count} changes of {len(available_timezones())} zones, '
              f'{len(found)} different ones, {len(CRONTABS)} schedules: '
              f'{windows} windows of 3 to 5 hours, {runs} runs, '
              f'{sum(differences.values())} differences')
    assert not differences, list(differences)[:5]
    assert len(found) > 1000 and runs > 100_000


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CRONTABS),
       st.sampled_from(('Europe/Vienna', 'America/New_York', 'UTC',
                        'Australia/Lord_Howe', 'Pacific/Apia',
                        'Africa/Casablanca', 'America/St_Johns')),
       st.integers(FIRST, LAST), st.integers(0, 999))
def test_any_moment_of_a_zone(crontab, name, now, thousandths):
    """From moments that are no run, also a second before or after one."""
    text, matches, fixed = crontab
    rule, zone = Rule(cron=check_crontab(text), timezone=name), ZoneInfo(name)
    found = rule.next_time(now + thousandths / 1000)
    assert found > now and found % 60 == 0
    again = datetime.fromtimestamp(found, zone).fold
    wall = parts(found + offset(zone, found))
    if matches(*wall) and not (fixed and again):
        # None is passed over.
        first = now - now % 60 + 60
        for at in range(first, min(found, first + 2 * DAY), 60):
            shown = datetime.fromtimestamp(at, zone)
            assert not matches(*parts(at + offset(zone, at))) or (
                fixed and shown.fold)
    else:
        # A time that is skipped runs when the clocks are set.
        assert fixed and offset(zone, found) > offset(zone, found - 60)


def test_the_fields_of_0_5_2_in_a_zone():
    vienna = Rule(check_fields(hour=(2,), minute=(30,)),
                  timezone='Europe/Vienna')
    # Skipped on 28 March 2027: at the change, 1:00 UTC.
    start = datetime(2027, 3, 27, 12, tzinfo=UTC).timestamp()
    assert asked(vienna, start, start + 2 * DAY) == [
        datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp(),
        datetime(2027, 3, 29, 0, 30, tzinfo=UTC).timestamp()]
    # Repeated on 31 October 2027: the first time alone.
    start = datetime(2027, 10, 30, 12, tzinfo=UTC).timestamp()
    assert asked(vienna, start, start + 2 * DAY) == [
        datetime(2027, 10, 31, 0, 30, tzinfo=UTC).timestamp(),
        datetime(2027, 11, 1, 1, 30, tzinfo=UTC).timestamp()]
    # Each hour at 30 minutes past: real hours.
    hourly = Rule(check_fields(minute=(30,)), timezone='Europe/Vienna')
    assert asked(hourly, start, start + DAY) == [
        start + 1800 + 3600 * hour for hour in range(24)]

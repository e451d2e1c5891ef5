"""Numbers as SVG."""

import pytest

from lovely.remotetask.web.pages import chart
from lovely.remotetask.web.pages import words


def test_the_heights_of_bars_add_up_to_their_sum():
    found = chart.bars([[10, 0, 5], [0, 0, 5]], ['a', 'b', 'c'])
    heights = {}
    for one in found['bars']:
        heights.setdefault(one['x'], []).append(float(one['height']))
    # The second has no shape; the first and the third are equally high.
    first, third = heights.values()
    assert sum(first) == pytest.approx(sum(third), abs=0.2)
    assert [one['text'] for one in found['grid']] == ['0', '5', '10']
    assert [one['anchor'] for one in found['labels']] == [
        'start', 'middle', 'end']


def test_the_line_in_the_middle_has_its_own_number():
    found = chart.bars([[4, 1]], ['a', 'b', 'c'])
    assert [one['text'] for one in found['grid']] == ['0', '2.5', '5']


def test_nothing_to_show():
    for found in (chart.bars([[0, 0], [0, 0]], []), chart.bars([[]], []),
                  chart.lines([[None, None]], []), chart.lines([], [])):
        assert found['bars'] == []
        assert len(found['grid']) == 1


def test_a_gap_breaks_a_line():
    (line,) = chart.lines([[1, None, 2, 3]], [])['lines']
    assert line['d'].count('M') == 2
    assert line['d'].count('L') == 1


@pytest.mark.parametrize(('value', 'top'), [
    (1, 1), (3, 5), (7, 10), (10, 10), (11, 20), (999, 1000), (1001, 2000),
    (0.004, 0.005), (0.3, 0.5), (1e9, 1e9), (123_456_789, 200_000_000)])
def test_the_end_of_an_axis(value, top):
    assert chart._nice(value) == pytest.approx(top)


@pytest.mark.parametrize(('seconds', 'text'), [
    (None, '–'), (0, '0 ms'), (0.0123, '12 ms'), (0.9999, '1.0 s'),
    (1.44, '1.4 s'), (59, '59 s'), (99, '99 s'), (100, '1.7 min'),
    (1320, '22 min'), (7200, '2.0 h'), (172_800, '2 days'), (-1, '0 ms')])
def test_durations(seconds, text):
    assert words.duration(seconds).replace('\u202f', ' ') == text


@pytest.mark.parametrize(('value', 'text'), [
    (0, '0'), (999, '999'), (19_450, '19 450'), (1_000_000, '1 000 000'),
    (1.0, '1'), (1.25, '1.2')])
def test_numbers(value, text):
    assert words.number(value).replace('\u202f', ' ') == text


@pytest.mark.parametrize(('iso', 'text'), [
    ('2026-11-30T10:00:00.123456+00:00', '2026-11-30 10:00:00'),
    ('2026-11-30T10:00:00', '2026-11-30 10:00:00'), ('nonsense', 'nonsense')])
def test_moments(iso, text):
    assert words.moment(iso)['text'] == text

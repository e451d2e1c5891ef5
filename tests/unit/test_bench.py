"""The benchmark computes right, and shows its figures to people."""

import pytest

from lovely.remotetask.bench import report
from lovely.remotetask.bench.pace import percentile


@pytest.mark.parametrize(('part', 'value'), [
    (0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentile(part, value):
    assert percentile(range(100, 0, -1), part) == value


def test_percentile_of_one():
    assert percentile([7], 0.5) == percentile([7], 0.99) == 7


def test_the_table_has_the_cpu_beside_each_ratio():
    text = report.table({
        'storage': 'ZEO', 'started': '2026-01-02T03:04:05',
        'machine': {'cores': 2},
        'measures': {
            'drain': {'jobs': 5, 'raw_per_second': 4000, 'raw_cpu_us': 43.21,
                      'of_raw': 0.5, 'cpu_us': 208.4,
                      'grouped_times_ungrouped': 3.5,
                      'grouped_cpu_us': 95.0},
            'latency': {'p50_ms': None}}})
    assert text.splitlines() == [
        'ZEO, 2026-01-02: cores 2',
        '',
        'measure                         measured  CPU us',
        'drain: jobs                            5',
        'drain: raw per second              4,000    43.2',
        'drain: of raw                        0.5     208',
        'drain: grouped times ungrouped       3.5      95',
        'latency: p50 ms                      n/a']


@pytest.mark.parametrize(('value', 'text'), [
    (0.5512, '0.551'), (2, '2'), (0.0, '0'), (20000, '20,000'),
    (123.4, '123'), (1.15, '1.15'), (12.34, '12.3'), (0.00123, '0.00123')])
def test_numbers_for_people(value, text):
    assert report.number(value) == text

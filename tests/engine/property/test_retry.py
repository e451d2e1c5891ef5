"""Retry policies: their bounds, for any numbers."""

from hypothesis import given
from hypothesis import strategies as st

from lovely.remotetask.retry import RetryPolicy

SECONDS = st.floats(0, 1e9) | st.integers(0, 10**9)


@given(st.integers(0, 10**6), SECONDS, SECONDS, st.integers(1, 10**6),
       st.randoms(use_true_random=False))
def test_bounds(retries, base, cap, failures, rng):
    delay = RetryPolicy(retries, base, cap).delay(failures, rng)
    if failures > retries:
        assert delay is None
    else:
        # Also where 2 ** failures is no float any more.
        assert 0 <= delay <= cap
        if failures < 1000:
            assert delay <= base * 2 ** (failures - 1)

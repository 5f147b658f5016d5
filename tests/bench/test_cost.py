"""A month's cost is arithmetic over what was measured."""

import pytest

from bench.cost import LOOKS, WATCHING, Use, month

ALONE = Use(seconds=0.5, writes=8, reads=2, log_bytes=1_000, reports=1)
LOOK = Use(seconds=0.002, writes=5, reads=1, log_bytes=0)
SWEEP = Use(seconds=0.2, writes=0, reads=4, log_bytes=500)
SWEEPS = 730 * 60
POLLS = 5 * 730 * 3600 / 20


def test_idle_month_pays_for_sweeps_polls_and_the_key() -> None:
    """Custom metrics and the alarm are a part of their own."""
    found = month(0, each=ALONE, look=LOOK, sweep=SWEEP)
    assert found["function"] == pytest.approx(SWEEPS * (0.2e-6 + 0.2 * 1.0 * 0.0000133334))
    assert found["queues"] == pytest.approx(POLLS * 0.4e-6)
    assert found["ledger"] == pytest.approx(SWEEPS * 4 * 0.125e-6)
    assert found["logs"] == pytest.approx(SWEEPS * 500e-9 * 0.5)
    assert found["key"] == pytest.approx(1.00 + 730 * 12 * 3e-6)
    assert (found["schedule"], found["failures"]) == pytest.approx((SWEEPS * 1e-6, 0))
    assert found[WATCHING] == pytest.approx(0.10 + 2 * 0.30)


def test_reports_pay_for_themselves_and_their_looks() -> None:
    """A million more than nothing: each report with a part of three large sweeps."""
    idle, found = (month(reports, each=ALONE, look=LOOK, sweep=SWEEP) for reports in (0, 1_000_000))
    gb_second = 1.0 * 0.0000133334
    assert LOOKS == 3
    assert found["function"] - idle["function"] == pytest.approx(0.20 + 1e6 * (0.5 + 3 * 0.002) * gb_second)
    assert found["ledger"] - idle["ledger"] == pytest.approx((8 + 3 * 5) * 0.625 + (2 + 3 * 1) * 0.125)
    assert found["queues"] - idle["queues"] == pytest.approx(3 * 0.4)
    assert found["failures"] == pytest.approx(50_000 * (0.4e-6 + 0.5e-6 + 2e-5))


def test_batch_shares_its_invocation() -> None:
    """Each report pays a part of what the invocation cost."""
    together = Use(seconds=0.5, writes=8, reads=2, log_bytes=1_000, reports=25)
    alone, shared = (month(1_000_000, each=use, look=LOOK, sweep=SWEEP) for use in (ALONE, together))
    assert alone["logs"] - shared["logs"] == pytest.approx(0.5 * 24 / 25)


def test_clusters_metrics_are_paid_only_in_hours_that_have_values() -> None:
    """A hundred reports over ten clusters: ten hours of each cluster's metrics."""
    few = month(100, each=ALONE, look=LOOK, sweep=SWEEP)
    assert few[WATCHING] == pytest.approx(0.70 + 10 * 9 * 0.30 * 10 / 730)

"""A month's cost is arithmetic over counted calls."""

import pytest

from bench import cost
from bench.cost import Invocation, month

ALONE = Invocation(reports=1, seconds=0.5, writes=8, reads=2, log_bytes=1_000)
POLLS = 5 * 730 * 3600 / 20


def test_an_idle_month_costs_polls_the_key_and_the_alarm() -> None:
    """Nothing else is there when nothing is reported."""
    assert cost.idle().total == pytest.approx(POLLS * 0.4e-6 + 1.00 + 0.10)


def test_a_million_reports_are_paid_by_use() -> None:
    """Each part by its own price; each report has three checks, which are taken to cost as much as it does."""
    found = month(1_000_000, ALONE)
    assert found.lambda_ == pytest.approx(4 * (0.20 + 1_000_000 * 0.25 * 0.0000133334))
    assert found.queues == pytest.approx((1_000_000 + 4 * 2_000_000 + POLLS) * 0.4e-6)
    assert found.ledger == pytest.approx(4 * (8 * 0.625 + 2 * 0.125))
    assert found.logs == pytest.approx(4 * 0.50)
    assert found.metrics == pytest.approx(10 * 6 * 0.30)
    assert found.failures == pytest.approx(50_000 * (0.4e-6 + 0.5e-6 + 2e-5))


def test_a_batch_shares_its_invocation() -> None:
    """What is paid per invocation is paid once for all of its reports."""
    together = Invocation(reports=25, seconds=0.5, writes=8, reads=2, log_bytes=1_000)
    assert month(1_000_000, together).lambda_ == pytest.approx(month(1_000_000, ALONE).lambda_ / 25)


def test_metrics_are_paid_only_in_hours_that_have_values() -> None:
    """A hundred reports over ten clusters: ten hours of each cluster's metrics."""
    assert month(100, ALONE).metrics == pytest.approx(10 * 6 * 0.30 * 10 / 730)

"""The codes that are worth another try: machines redrive by them."""

import pytest

from node_remediation import codes


@pytest.mark.parametrize(
    "code",
    [
        *sorted(codes.THROTTLING),
        "InstanceIdInUse",
        "InvalidInstanceStatus",
        "InternalServerError",
        "OutcomeUnknown",
        "DeadlineExceeded",
        "LedgerBusy",
        "Paused",
        "CoolingDown",
        "UnderRepair",
        "StaleReport",
        "ClusterBudgetExceeded",
    ],
)
def test_code_of_a_passing_fault_is_retryable(code: str) -> None:
    """The same node may well be rebooted later."""
    assert codes.is_retryable(code)


@pytest.mark.parametrize(
    "code",
    [
        "InstanceIdNotFound",
        "ResourceNotFound",
        "ValidationException",
        "AccessDeniedException",
        "RebootLimitReached",
        "ReplacementAdvised",
        "ProtectedNode",
        "ForeignEvent",
        "Superseded",
        "ClusterNotAllowed",
        "ClusterNotResolved",
        "NodeNotResolved",
        "AmbiguousNodes",
        "NotRecovered",
        "Unreadable",
        "",
    ],
)
def test_code_that_only_a_person_can_change_is_not_retryable(code: str) -> None:
    """Asked again, the answer would be the same."""
    assert not codes.is_retryable(code)

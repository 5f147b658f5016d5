"""Names of what can keep a node from being rebooted, and which of them are worth another try.

A call's or a node's failure keeps AWS's own code; the codes here are this system's.
"""

OUTCOME_UNKNOWN = "OutcomeUnknown"
DEADLINE_EXCEEDED = "DeadlineExceeded"
UNREADABLE = "Unreadable"
IN_PROGRESS = "InProgress"
LEDGER_BUSY = "LedgerBusy"
PAUSED = "Paused"
STALE_REPORT = "StaleReport"
REPLACEMENT_ADVISED = "ReplacementAdvised"
PROTECTED_NODE = "ProtectedNode"
COOLING_DOWN = "CoolingDown"
REBOOT_LIMIT_REACHED = "RebootLimitReached"
CLUSTER_BUDGET_EXCEEDED = "ClusterBudgetExceeded"
CLUSTER_NOT_ALLOWED = "ClusterNotAllowed"
CLUSTER_NOT_RESOLVED = "ClusterNotResolved"
NODE_NOT_RESOLVED = "NodeNotResolved"
AMBIGUOUS_NODES = "AmbiguousNodes"
NOT_RECOVERED = "NotRecovered"

# Codes that AWS services throttle with (botocore.retries.standard.ThrottledRetryableChecker).
THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

# Codes of a single node's failure (BatchRebootClusterNodes) that pass by themselves: "wait and try again".
PASSING = frozenset({"InstanceIdInUse", "InvalidInstanceStatus", "InternalServerError"})

_RETRYABLE = (
    THROTTLING
    | PASSING
    | {
        OUTCOME_UNKNOWN,
        DEADLINE_EXCEEDED,
        IN_PROGRESS,
        LEDGER_BUSY,
        PAUSED,
        COOLING_DOWN,
        STALE_REPORT,
        CLUSTER_BUDGET_EXCEEDED,
    }
)


def is_retryable(code: str) -> bool:
    """Whether the same node may well be rebooted if it is asked for again later."""
    return code in _RETRYABLE

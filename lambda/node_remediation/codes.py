"""The codes of failures and refusals, and which of them are worth another try.

A failed call, and an entry of the API's own, keep AWS's code; the codes named here are this system's.
"""

OUTCOME_UNKNOWN = "OutcomeUnknown"
DEADLINE_EXCEEDED = "DeadlineExceeded"
UNREADABLE = "Unreadable"
LEDGER_BUSY = "LedgerBusy"
PAUSED = "Paused"
STALE_REPORT = "StaleReport"
REPLACEMENT_ADVISED = "ReplacementAdvised"
UNDER_REPAIR = "UnderRepair"
FOREIGN_EVENT = "ForeignEvent"
SUPERSEDED = "Superseded"
PROTECTED_NODE = "ProtectedNode"
COOLING_DOWN = "CoolingDown"
REBOOT_LIMIT_REACHED = "RebootLimitReached"
CLUSTER_BUDGET_EXCEEDED = "ClusterBudgetExceeded"
CLUSTER_NOT_ALLOWED = "ClusterNotAllowed"
CLUSTER_NOT_RESOLVED = "ClusterNotResolved"
NODE_NOT_RESOLVED = "NodeNotResolved"
AMBIGUOUS_NODES = "AmbiguousNodes"
NOT_RECOVERED = "NotRecovered"
EXCLUDED = "Excluded"
VETOED = "Vetoed"
NOT_APPROVED = "NotApproved"
NOT_REPLACEABLE = "NotReplaceable"
REPLACE_BUDGET_EXCEEDED = "ReplaceBudgetExceeded"
SOFTWARE_UPDATE_REQUIRED = "SoftwareUpdateRequired"

# Codes that AWS services throttle with (botocore: ThrottledRetryableChecker, and the models of SNS and SQS).
THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMSThrottling",
        "KmsThrottled",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttled",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

# Codes of a single node's failure after which the API reference says to try again (BatchRebootClusterNodes,
# BatchReplaceClusterNodes).
PASSING = frozenset({"InstanceIdInUse", "InvalidInstanceStatus", "InternalServerError"})

_RETRYABLE = (
    THROTTLING
    | PASSING
    | {
        OUTCOME_UNKNOWN,
        DEADLINE_EXCEEDED,
        LEDGER_BUSY,
        PAUSED,
        COOLING_DOWN,
        UNDER_REPAIR,
        STALE_REPORT,
        CLUSTER_BUDGET_EXCEEDED,
        REPLACE_BUDGET_EXCEEDED,
    }
)


def is_retryable(code: str) -> bool:
    """Tell whether the same node may well be rebooted if it is asked for again later."""
    return code in _RETRYABLE

"""What usually helps, by code: the sentence that a person who was woken by a notification acts on."""

from node_remediation import codes

_ADVICE = {
    "InstanceIdInUse": (
        "Another operation is running on the node, often a repair or a reboot of HyperPod's own. Wait until it is "
        "over (aws sagemaker describe-cluster-node shows the status), then redrive."
    ),
    "InstanceIdNotFound": (
        "The cluster has no such node: it was probably replaced. List the nodes (aws sagemaker list-cluster-nodes); if "
        "the node is gone, delete the message from the dead-letter queue."
    ),
    "InvalidInstanceStatus": (
        "The node is in a state that cannot be rebooted, such as Pending or ShuttingDown. Wait until it is Running or "
        "Failure, then redrive; if it is stuck, replace it (aws sagemaker batch-replace-cluster-nodes)."
    ),
    "InternalServerError": "SageMaker failed by itself. Redrive; if it fails again, open a case with AWS Support.",
    "ResourceNotFound": (
        "There is no HyperPod cluster of this name in this account and region, nor an EKS cluster of this name behind "
        "one. Check the alarm's ClusterName dimension or the setting default_cluster."
    ),
    "ValidationException": (
        "SageMaker does not accept the request. Check the node's ID; logical IDs work only on clusters with "
        "NodeProvisioningMode Continuous."
    ),
    "AccessDeniedException": (
        "The function's role may not do this. With the setting cluster_tag only clusters that carry the tag may be "
        "rebooted; else look for a service control policy or permissions boundary. Redrive once it is allowed."
    ),
    codes.OUTCOME_UNKNOWN: (
        "SageMaker's answer was lost, so the node may or may not have been rebooted. Look at the node (aws sagemaker "
        "describe-cluster-node; uptime on the node) and redrive only if it was not."
    ),
    codes.DEADLINE_EXCEEDED: "More nodes came at once than could be called for in time. Redrive.",
    codes.IN_PROGRESS: (
        "Another invocation was still at work on this node each time the report came up. Look at the node (aws "
        "sagemaker describe-cluster-node) and redrive if it was not rebooted."
    ),
    codes.LEDGER_BUSY: (
        "The ledger table could not be read or written for longer than the function kept trying. Look at the table's "
        "throttling metrics, and at the node before you redrive: it may have been rebooted."
    ),
    codes.PAUSED: (
        "Somebody paused this system. If it should act again, resume it (README, Operate: the mode parameter), then "
        "redrive: nodes that are healthy again by then are left alone."
    ),
    codes.STALE_REPORT: (
        "The report is too old to act on: the queue was backed up, or an archive was replayed. Look at the node; if it "
        "is still unhealthy, redrive: a redriven report is new."
    ),
    codes.REPLACEMENT_ADVISED: (
        "HyperPod thinks that a reboot will not help. Replace the node (aws sagemaker batch-replace-cluster-nodes; it "
        "destroys the node's volumes), then delete the message from the dead-letter queue. To have such nodes rebooted "
        'instead, set on_replacement_advised to "reboot", deploy and redrive.'
    ),
    codes.PROTECTED_NODE: (
        "Rebooting a controller, head or login node interrupts the whole cluster, so no machine does it. Look at the "
        "node, tell its users, and reboot it by hand (aws sagemaker batch-reboot-cluster-nodes). If it should not be "
        "protected, change protected_instance_groups, deploy and redrive."
    ),
    codes.COOLING_DOWN: (
        "The node was rebooted a short while ago, or may have been. Wait for it to come back (up to 10 minutes) and "
        "until the cooldown is over; if it is still unhealthy then, redrive."
    ),
    codes.REBOOT_LIMIT_REACHED: (
        "Rebooting does not cure this node. Drain it and replace it (aws sagemaker batch-replace-cluster-nodes; it "
        "destroys the node's volumes), then delete the message from the dead-letter queue."
    ),
    codes.NOT_RECOVERED: (
        "The reboot, or HyperPod's own repair, did not bring the node back. Look at it (aws sagemaker "
        "describe-cluster-node), drain it and replace it (aws sagemaker batch-replace-cluster-nodes; it destroys the "
        "node's volumes); a repair of HyperPod's that is stuck is a case for AWS Support. Then delete the message from "
        "the dead-letter queue."
    ),
    codes.CLUSTER_BUDGET_EXCEEDED: (
        "So many nodes of one cluster rarely fail by themselves: look for a common cause first (network, power, a "
        "driver, an alarm that is wrong). Redrive when the budget window has moved on, or raise budget_percent, deploy "
        "and redrive."
    ),
    codes.CLUSTER_NOT_ALLOWED: (
        "The setting clusters does not name this cluster. If it should be looked after, add it and deploy, then "
        "redrive; else delete the message from the dead-letter queue."
    ),
    codes.CLUSTER_NOT_RESOLVED: (
        "Give the alarm a HyperPodClusterName dimension or the tag hyperpod:cluster, or set default_cluster and "
        "deploy, then redrive."
    ),
    codes.NODE_NOT_RESOLVED: (
        "Give the alarm's metric a dimension InstanceId, NodeName or NodeLogicalId, or narrow alarm_name_prefixes so "
        "that it leaves this alarm out. To reboot the node now, send a request (docs/messages.md)."
    ),
    codes.AMBIGUOUS_NODES: (
        "Make one alarm per node, or a Metrics Insights alarm that groups by InstanceId. To reboot a node now, send a "
        "request (docs/messages.md)."
    ),
    codes.UNREADABLE: (
        "Something put a message on the intake queue that is none of the kinds this system reads (docs/messages.md). "
        "It is in the dead-letter queue as it came: correct and send it again, or delete it."
    ),
}
_THROTTLED = (
    "AWS turned the calls away as too many, for longer than the function kept trying. Redrive in a few minutes."
)
_OTHER = "Look the code up in the SageMaker API reference; if the fault has passed, redrive."


def advice_for(code: str) -> str:
    """One or two sentences for a person."""
    return _ADVICE.get(code) or (_THROTTLED if code in codes.THROTTLING else _OTHER)

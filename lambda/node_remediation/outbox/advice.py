"""Advice: what usually helps, by code. The person who is woken by a mail acts on it."""

from node_remediation import codes

_ADVICE = {
    "InstanceIdInUse": (
        "Another operation is running on the node, often a repair or a reboot by HyperPod itself. Wait until it is "
        "over (aws sagemaker describe-cluster-node shows the node's status), then redrive."
    ),
    "InstanceIdNotFound": (
        "The cluster has no such node: it was probably replaced. List the nodes (aws sagemaker list-cluster-nodes). If "
        "the node is gone, delete the message from the dead-letter queue."
    ),
    "InvalidInstanceStatus": (
        "The node has a status in which it cannot be rebooted, such as Pending or ShuttingDown. Wait until it is "
        "Running or Failure, then redrive. If it is stuck, replace it (aws sagemaker batch-replace-cluster-nodes; this "
        "destroys the node's volumes)."
    ),
    "InternalServerError": (
        "SageMaker had an error of its own. Redrive. If it fails again, open a case with AWS Support."
    ),
    "ResourceNotFound": (
        "This account and region have no HyperPod cluster of this name, and no EKS cluster of this name behind one. "
        "Check the alarm's ClusterName dimension and the setting default_cluster. If the name is wrong, correct it, "
        "send a request for the node (docs/messages.md), and delete the message from the dead-letter queue."
    ),
    "ValidationException": (
        "SageMaker does not accept the request. Check the node's ID. Logical IDs work only on clusters with "
        "NodeProvisioningMode Continuous. If the ID is wrong, send a request with the right one (docs/messages.md), "
        "and delete the message from the dead-letter queue."
    ),
    "AccessDeniedException": (
        "The function's role is not allowed to do this. With the setting cluster_tag, only clusters that carry the tag "
        "can be rebooted. Else look for a service control policy or a permissions boundary. Redrive once it is allowed."
    ),
    codes.OUTCOME_UNKNOWN: (
        "SageMaker's answer was lost, so the node was perhaps rebooted. The call is not repeated automatically. Look "
        "at the node (aws sagemaker describe-cluster-node; uptime on the node). Redrive only if it was not rebooted."
    ),
    codes.DEADLINE_EXCEEDED: (
        "The function ran out of time, for example because very many nodes were reported at once. Redrive."
    ),
    codes.LEDGER_BUSY: (
        "The ledger table could not be read or written for longer than the function kept trying, or this node had more "
        "requests in 4 days than the ledger keeps. Look at the table's throttling metrics, and at the node: it was "
        "perhaps rebooted. Redrive if it was not."
    ),
    codes.PAUSED: (
        "An operator has paused this system. When it may act again, set its mode (aws ssm put-parameter --type String "
        "--overwrite --value active --name NAME, where NAME is the stack's output ModeParameterName), then redrive. A "
        "node that was reported healthy by then is left alone."
    ),
    codes.STALE_REPORT: (
        "The report is too old to act on: it waited too long in the queue, or it comes from an archive replay. Look at "
        "the node. If it is still unhealthy, redrive: a redriven report is new."
    ),
    codes.REPLACEMENT_ADVISED: (
        "HyperPod advises to replace the node, so a reboot will probably not help. Replace it (aws sagemaker "
        "batch-replace-cluster-nodes; this destroys the node's volumes), then delete the message from the dead-letter "
        'queue. To have such nodes rebooted instead, set on_replacement_advised to "reboot", deploy and redrive.'
    ),
    codes.UNDER_REPAIR: (
        "HyperPod is repairing this node. Wait until the repair is over: a reboot takes a few minutes, a replacement "
        "20 to 30. If the node is still there and unhealthy then, redrive. If the repair takes longer than 90 minutes, "
        "open a case with AWS Support."
    ),
    codes.FOREIGN_EVENT: (
        "The event comes from another AWS account or region, whose nodes this system does not reboot. Deploy the stack "
        "in that account and region, and stop forwarding its events to this one. Then delete the message from the "
        "dead-letter queue."
    ),
    codes.SUPERSEDED: (
        "The cluster no longer has this instance: it was replaced, or the cluster was deleted. There is nothing to do."
    ),
    codes.PROTECTED_NODE: (
        "Rebooting a controller, head or login node interrupts the whole cluster, so this system never does it. Look "
        "at the node, tell its users, and reboot it by hand (aws sagemaker batch-reboot-cluster-nodes). If it need not "
        "be protected, change protected_instance_groups, deploy and redrive."
    ),
    codes.COOLING_DOWN: (
        "The node was rebooted a short while ago, or perhaps was. Give it up to 10 minutes to come back. If it is "
        "still unhealthy when the cooldown is over, redrive."
    ),
    codes.REBOOT_LIMIT_REACHED: (
        "Reboots do not cure this node. Drain it and replace it (aws sagemaker batch-replace-cluster-nodes; this "
        "destroys the node's volumes), then delete the message from the dead-letter queue."
    ),
    codes.NOT_RECOVERED: (
        "The reboot, or HyperPod's own repair, did not make the node well. Look at it (aws sagemaker "
        "describe-cluster-node; on Slurm also sinfo: scontrol update nodename=NAME state=resume brings back a node "
        "that is only down because it was rebooted). If it is still sick, drain it and replace it (aws sagemaker "
        "batch-replace-cluster-nodes; this destroys the node's volumes). If a repair by HyperPod is stuck, open a case "
        "with AWS Support. Then delete the message from the dead-letter queue."
    ),
    codes.CLUSTER_BUDGET_EXCEEDED: (
        "So many nodes of one cluster rarely fail independently. Look for a common cause first: network, power, a "
        "driver, an alarm that is wrong. Redrive when the budget window is over, or raise budget_percent, deploy and "
        "redrive."
    ),
    codes.CLUSTER_NOT_ALLOWED: (
        "The setting clusters does not name this cluster. If this system should reboot its nodes, add it, deploy and "
        "redrive. Else delete the message from the dead-letter queue."
    ),
    codes.CLUSTER_NOT_RESOLVED: (
        "Give the alarm the tag hyperpod:cluster or its metric a dimension HyperPodClusterName, so that the next "
        "report names its cluster. To try this report again, set default_cluster, deploy and redrive."
    ),
    codes.NODE_NOT_RESOLVED: (
        "Give the alarm's metric a dimension InstanceId, NodeName or NodeLogicalId, or narrow alarm_name_prefixes so "
        "that it leaves this alarm out. To reboot the node now, send a request (docs/messages.md). Then delete the "
        "message from the dead-letter queue."
    ),
    codes.AMBIGUOUS_NODES: (
        "Make one alarm per node, or a Metrics Insights alarm that groups by InstanceId. To reboot a node now, send a "
        "request (docs/messages.md). Then delete the message from the dead-letter queue."
    ),
    codes.UNREADABLE: (
        "A message on the intake queue is of no kind that this system reads (docs/messages.md). The dead-letter queue "
        "has it as it came. Correct it and send it again, or delete it."
    ),
}
_THROTTLED = (
    "AWS refused the calls because there were too many, for longer than the function kept trying. Redrive in a few "
    "minutes."
)
_OTHER = "Look the code up in the SageMaker API reference. If the fault is over, redrive."


def advice_for(code: str) -> str:
    """Return a few sentences for a person."""
    return _ADVICE.get(code) or (_THROTTLED if code in codes.THROTTLING else _OTHER)

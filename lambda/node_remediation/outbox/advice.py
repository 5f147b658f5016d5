"""Advice by code or outcome: the words of subject and heading, and what the reader of the mail does now. Pure."""

from enum import StrEnum
from typing import NamedTuple

from node_remediation import codes
from node_remediation.model import Outcome


class Command(StrEnum):
    """The command that a mail fills in for the nodes that the advice is about."""

    NONE = ""
    REBOOT = "reboot"
    REPLACE = "replace"
    RESUME = "resume"
    ANSWER = "answer"


class Advice(NamedTuple):
    """Holds what to say of a code or an outcome.

    `words` is what happened and `do` what to do, both short enough for a subject; `{it}` stands for one node or for
    several. `text` is the whole advice, `command` the command below it. `again` leads to the command that requests the
    reboot again, where the code is retryable.
    """

    words: str
    do: str
    text: str = ""
    command: Command = Command.NONE
    again: str = "If the node is still unhealthy then, request its reboot again:"

    def line(self, nodes: int) -> str:
        """Return the short form for one node or several."""
        return f"{self.words}, {self.do.format(it='it' if nodes == 1 else 'them')}"


_OUTCOMES: dict[str, Advice] = {
    Outcome.UNVERIFIED: Advice(
        "NOT VERIFIED",
        "look at {it}",
        "The node has status Running, but nothing has said that it is healthy. Check that it takes work again.",
    ),
    Outcome.PROPOSED: Advice(
        "REBOOT PROPOSED",
        "approve or veto {it}",
        "The setting overrides asks before this reboot, which is soft: it drains nothing and interrupts what still "
        "runs on the node. All limits are checked again when you approve. To approve, send this message; to veto, "
        'send it with "Vetoed" in place of "Approved". A "Reason" may be added.',
        Command.ANSWER,
    ),
    Outcome.RECURRING: Advice(
        "RECURRING",
        "find the cause",
        "A reboot does not cure this node for long. Find the cause of these incidents: a part of the node that fails "
        "again and again, the work that runs on it, or an alarm that is wrong. If it is the node, replace it (aws "
        "sagemaker batch-replace-cluster-nodes; this destroys the node's volumes).",
    ),
    Outcome.DAILY_SUMMARY: Advice("DAILY SUMMARY", ""),
    Outcome.RETRYING: Advice("NOT REBOOTED YET", "nothing to do"),
    Outcome.RESUMED: Advice(
        "RESUMED",
        "redrive what was refused",
        "Nodes that were refused meanwhile stay in the dead-letter queue. A redrive tries them again: the output "
        "RedriveCommand of the stack has the command.",
    ),
    Outcome.OBSERVED: Advice("OBSERVED, NOT REBOOTED", "nothing to do"),
    Outcome.REBOOTED: Advice("BEING REBOOTED", "nothing to do"),
    Outcome.REPLACED: Advice("BEING REPLACED", "nothing to do"),
    Outcome.SUPERSEDED: Advice("NODE IS GONE", "nothing to do"),
    Outcome.RECOVERED: Advice("RECOVERED", "nothing to do"),
}
_DELETE = "Then delete its letter from the dead-letter queue."
_CODES = {
    "InstanceIdInUse": Advice(
        "NODE IS BUSY",
        "wait and try again",
        "Another operation is running on the node, often a repair or a reboot by HyperPod itself. Wait until it is "
        "over: the node's status shows it.",
    ),
    "InstanceIdNotFound": Advice(
        "NO SUCH NODE",
        "check its ID",
        "The cluster has no node with this ID: it was probably replaced. List the cluster's nodes. If the node is "
        "gone, delete its letter from the dead-letter queue.",
    ),
    "InvalidInstanceStatus": Advice(
        "STATUS ALLOWS NO REBOOT",
        "wait",
        "The node has a status in which it cannot be rebooted, such as Pending or ShuttingDown. Wait until it is "
        "Running or Failure. If the status does not change, replace the node (aws sagemaker "
        "batch-replace-cluster-nodes; this destroys the node's volumes).",
    ),
    "InternalServerError": Advice(
        "SAGEMAKER HAD AN ERROR",
        "try again",
        "SageMaker had an error of its own. Wait a few minutes. If it fails again, open a case with AWS Support.",
    ),
    "ResourceNotFound": Advice(
        "NO SUCH CLUSTER",
        "check its name",
        "This account and region have no HyperPod cluster of this name, and no EKS cluster of this name behind one. "
        "Check the alarm's ClusterName dimension and the setting default_cluster. If the name is wrong, correct it and "
        "send a request for the node (docs/messages.md). " + _DELETE,
    ),
    "ValidationException": Advice(
        "REQUEST NOT VALID",
        "check the node's ID",
        "SageMaker does not accept the request. Check the node's ID. Logical IDs work only on clusters with "
        "NodeProvisioningMode Continuous. If the ID is wrong, send a request with the right one (docs/messages.md). "
        + _DELETE,
    ),
    "AccessDeniedException": Advice(
        "ACCESS DENIED",
        "fix the permissions",
        "The function's role is not allowed to do this. If the setting cluster_tag is set, only clusters that carry "
        "the tag can be rebooted. Otherwise look for a service control policy or a permissions boundary. Once it is "
        "allowed, send a request for the node (docs/messages.md).",
    ),
    codes.OUTCOME_UNKNOWN: Advice(
        "PERHAPS REBOOTED",
        "look at {it}",
        "SageMaker's answer was lost, so it is not known whether the reboot started. The call is not repeated "
        "automatically, and a further mail says how this ends. Look at the node: uptime on the node tells when it "
        "started.",
        again="Only if it was not rebooted, and is still unhealthy after the cooldown, request its reboot again:",
    ),
    codes.DEADLINE_EXCEEDED: Advice(
        "NO TIME LEFT",
        "try again",
        "The function ran out of time, for example because very many nodes were reported at once. Look at the node.",
    ),
    codes.LEDGER_BUSY: Advice(
        "LEDGER NOT AVAILABLE",
        "look at {it}",
        "The ledger table could not be read or written for longer than the function kept trying, or this node had more "
        "requests in 4 days than the ledger keeps. Look at the table's throttling metrics, and at the node: it was "
        "perhaps rebooted.",
        again="Only if it was not rebooted and is still unhealthy, request its reboot again:",
    ),
    codes.PAUSED: Advice(
        "PAUSED",
        "resume and try again",
        "Reboots are paused, for the reason above. This shows the mode; to resume a part of it, write it again without "
        "that entry. The second command resumes everything: it replaces all entries, also those of other clusters.",
        Command.RESUME,
    ),
    codes.STALE_REPORT: Advice(
        "REPORT IS TOO OLD",
        "look at {it}",
        "The report is too old to act on: it waited too long in the queue, or it comes from an archive replay. Look at "
        "the node: it may be healthy by now.",
        again="If it is still unhealthy, request its reboot:",
    ),
    codes.REPLACEMENT_ADVISED: Advice(
        "REPLACEMENT ADVISED",
        "replace {it}",
        "HyperPod advises to replace the node and does not do it itself, so you do. (To have such nodes rebooted "
        'instead, set on_replacement_advised to "reboot".)',
        Command.REPLACE,
    ),
    codes.UNDER_REPAIR: Advice(
        "HYPERPOD REPAIRS IT",
        "wait",
        "Do nothing while HyperPod repairs the node: a reboot takes a few minutes, a replacement 20 to 30. If the "
        "repair takes longer than 90 minutes, open a case with AWS Support.",
        again="If the node is still there and unhealthy after the repair, request its reboot again:",
    ),
    codes.FOREIGN_EVENT: Advice(
        "FOREIGN EVENT",
        "fix the rule",
        "The event comes from another AWS account or region, whose nodes this system does not reboot. Deploy the stack "
        "in that account and region, and stop forwarding its events to this one. " + _DELETE,
    ),
    codes.SUPERSEDED: Advice(
        "INSTANCE WAS REPLACED",
        "nothing to do",
        "The cluster no longer has this instance: it was replaced, or the cluster was deleted. There is nothing to do.",
    ),
    codes.PROTECTED_NODE: Advice(
        "PROTECTED NODE",
        "reboot {it} by hand",
        "Rebooting a controller, head or login node interrupts the whole cluster, so this system never does it. Look "
        "at the node, tell the cluster's users, and reboot it by hand. (If it need not be protected, change "
        "protected_instance_groups.)",
        Command.REBOOT,
    ),
    codes.COOLING_DOWN: Advice(
        "REBOOTED A SHORT WHILE AGO",
        "wait",
        "The node was rebooted a short while ago, or perhaps was. Give it up to 10 minutes to come back.",
        again="If it is still unhealthy when the cooldown is over, request its reboot again:",
    ),
    codes.REBOOT_LIMIT_REACHED: Advice(
        "REBOOT LIMIT REACHED",
        "replace {it}",
        "The node was rebooted as often as the limit allows, and is still reported unhealthy. Replace it.",
        Command.REPLACE,
    ),
    codes.NOT_RECOVERED: Advice(
        "NOT RECOVERED",
        "replace {it}",
        "Look at the node. If it is still unhealthy, replace it. If a repair by HyperPod does not end, open a case "
        "with AWS Support.",
        Command.REPLACE,
    ),
    codes.CLUSTER_BUDGET_EXCEEDED: Advice(
        "REBOOT BUDGET IS SPENT",
        "find the cause",
        "So many nodes of one cluster rarely fail independently. Look for a common cause first: network, power, a "
        "driver, an alarm that is wrong. Then wait until the budget window is over, or raise budget_percent "
        "and deploy.",
    ),
    codes.CLUSTER_NOT_ALLOWED: Advice(
        "CLUSTER NOT IN SETTINGS",
        "check the setting",
        "The setting clusters does not name this cluster. If this system should reboot its nodes, add the cluster, "
        "deploy, and send a request for the node (docs/messages.md). " + _DELETE,
    ),
    codes.CLUSTER_NOT_RESOLVED: Advice(
        "CLUSTER NOT KNOWN",
        "fix the alarm",
        "Give the alarm the tag hyperpod:cluster or its metric a dimension HyperPodClusterName, or set "
        "default_cluster, so that the next report names its cluster. To reboot the node now, send a request "
        "(docs/messages.md). " + _DELETE,
    ),
    codes.NODE_NOT_RESOLVED: Advice(
        "NODE NOT KNOWN",
        "fix the alarm",
        "Give the alarm's metric a dimension InstanceId, NodeName or NodeLogicalId, or narrow alarm_name_prefixes so "
        "that it leaves this alarm out. To reboot the node now, send a request (docs/messages.md). " + _DELETE,
    ),
    codes.AMBIGUOUS_NODES: Advice(
        "ALARM NAMES SEVERAL NODES",
        "fix the alarm",
        "Make one alarm per node, or a Metrics Insights alarm that groups by InstanceId. To reboot a node now, send a "
        "request (docs/messages.md). " + _DELETE,
    ),
    codes.EXCLUDED: Advice(
        "EXCLUDED BY THE SETTINGS",
        "look at {it}",
        "The setting overrides says that nothing is done about such reports. Look at the node. To reboot it all the "
        "same, send a request (docs/messages.md). " + _DELETE,
    ),
    codes.VETOED: Advice(
        "VETOED",
        "look at {it}",
        "The proposed reboot was vetoed. If the node is still unhealthy, repair it another way, or send a request for "
        "its reboot later (docs/messages.md). " + _DELETE,
    ),
    codes.NOT_APPROVED: Advice(
        "NOT APPROVED",
        "look at {it}",
        "Nobody approved the reboot in time. Look at the node. A request (docs/messages.md) reboots it without a "
        "further question, if all limits allow it. " + _DELETE,
    ),
    codes.NOT_REPLACEABLE: Advice(
        "NOT REPLACED BY THIS SYSTEM",
        "look at {it}",
        "The setting overrides says that such a node is replaced, but this system replaces none on a cluster with "
        "NodeRecovery Automatic, and none whose instance is not known. Look at the node, and change the setting. To "
        "reboot it, send a request (docs/messages.md). " + _DELETE,
    ),
    codes.REPLACE_BUDGET_EXCEEDED: Advice(
        "REPLACE BUDGET IS SPENT",
        "find the cause",
        "It is rare that several nodes of one cluster need a replacement on one day. Look for a common cause first. "
        "Then replace the node by hand, or raise replace_budget, deploy, and redrive its letter.",
        Command.REPLACE,
    ),
    codes.SOFTWARE_UPDATE_REQUIRED: Advice(
        "NOT REPLACED",
        "update the cluster",
        "SageMaker replaces nodes of an older cluster only after its software was updated once (aws sagemaker "
        "update-cluster-software). That updates all nodes of the cluster, so plan a time for it.",
    ),
    codes.UNREADABLE: Advice(
        "MESSAGE NOT READABLE",
        "correct {it}",
        "A message on the intake queue is of no kind that this system reads (docs/messages.md). The dead-letter queue "
        "has it as it came. Correct the message and send it again, or ignore it. " + _DELETE,
    ),
}
_THROTTLED = Advice(
    "THROTTLED BY AWS",
    "try again",
    "AWS refused the calls because there were too many, for longer than the function kept trying. Wait a few minutes.",
)
_NOT_REPLACED = Advice(
    "REPLACEMENT FAILED",
    "look at {it}",
    "SageMaker did not replace the node, for the reason above. Look at the node. Once the reason is gone, replace it.",
    Command.REPLACE,
)
_PERHAPS_REPLACED = Advice(
    "PERHAPS REPLACED",
    "look at {it}",
    "SageMaker's answer was lost, so it is not known whether the replacement started. The call is not repeated "
    "automatically, and a further mail says how this ends. Look at the node: if it is gone, or its status is not "
    "Running, the replacement started.",
)
_OTHER = Advice(
    "NOT REBOOTED",
    "look at {it}",
    "Look the code up in the SageMaker API reference. Once its cause is gone, send a request for the node "
    "(docs/messages.md).",
)


def runbook_section(outcome: Outcome, code: str | None, *, replacing: bool = False) -> str:
    """Return the anchor of the section of docs/runbook.md about what `advice_for` advises on."""
    if outcome in _OUTCOMES:
        return outcome.replace("_", "-")
    if replacing and outcome is Outcome.FAILED:
        return "failed-replacements"
    return code.lower() if code in _CODES else "throttling" if code in codes.THROTTLING else "other-codes"


def advice_for(outcome: Outcome, code: str | None, *, replacing: bool = False) -> Advice:
    """Return the advice for an outcome or, where a letter was left, for its code; of a replacement, its own."""
    if outcome in _OUTCOMES:
        return _OUTCOMES[outcome]
    if replacing and outcome is Outcome.FAILED:
        return _PERHAPS_REPLACED if code == codes.OUTCOME_UNKNOWN else _NOT_REPLACED
    return _CODES.get(code or "") or (_THROTTLED if code in codes.THROTTLING else _OTHER)

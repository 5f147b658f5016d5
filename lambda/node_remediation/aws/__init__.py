"""The AWS services that the function calls, one file each behind a small Protocol; and the operations, listed here.

By default the asset ships the SDK's model of these operations alone: a call that is not listed does not exist.
"""

from collections.abc import Mapping

# By boto3's name of the service.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "cloudwatch": ("DescribeAlarmContributors", "DescribeAlarms", "ListTagsForResource"),
    "dynamodb": ("BatchGetItem", "Query", "Scan", "TransactWriteItems"),
    "events": ("PutEvents",),
    "sagemaker": (
        "BatchRebootClusterNodes",
        "BatchReplaceClusterNodes",
        "DescribeCluster",
        "DescribeClusterEvent",
        "DescribeClusterNode",
        "ListClusterNodes",
        "ListClusters",
    ),
    "sns": ("PublishBatch",),
    "sqs": ("ChangeMessageVisibilityBatch", "SendMessageBatch"),
    "ssm": ("GetParameter",),
}

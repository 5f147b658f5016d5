"""What the function needs of the AWS SDK: its asset has this and nothing else of botocore's data."""

from collections.abc import Mapping

# Every operation that this code calls, by boto3's name of the service: no other is in the asset's models.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "cloudwatch": ("DescribeAlarmContributors", "DescribeAlarms", "ListTagsForResource"),
    "dynamodb": ("BatchGetItem", "TransactWriteItems"),
    "sagemaker": (
        "BatchRebootClusterNodes",
        "DescribeCluster",
        "DescribeClusterNode",
        "ListClusterNodes",
        "ListClusters",
    ),
    "sns": ("PublishBatch",),
    "sqs": ("ChangeMessageVisibilityBatch", "SendMessageBatch"),
    "ssm": ("GetParameter",),
}

# Beside botocore's cacert.pem: the certificates out of it that the endpoints of AWS's own partition lead to.
AMAZON_ROOTS = "amazon-roots.pem"

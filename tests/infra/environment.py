"""Holds the environment of a deployed function, for tests that start it."""

from node_remediation.settings import Settings

ENVIRONMENT = {
    **Settings().to_env(),
    "INTAKE_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/111122223333/intake",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/111122223333/dead",
    "EVENT_BUS": "default",
    "FAILURE_TOPIC_ARN": "arn:aws:sns:us-west-2:111122223333:failures",
    "LEDGER_TABLE": "ledger",
    "MODE_PARAMETER": "/hyperpod-node-remediation/mode",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_REGION": "us-west-2",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}

"""A small CDK app with one of everything that the project's stack is made of, for the tests of `local.deploy`."""

import aws_cdk as cdk
from aws_cdk import (
    aws_cloudwatch,
    aws_dynamodb,
    aws_events,
    aws_events_targets,
    aws_iam,
    aws_kms,
    aws_lambda,
    aws_lambda_event_sources,
    aws_logs,
    aws_sns,
    aws_sns_subscriptions,
    aws_sqs,
)
from constructs import Construct

_CODE = """
import json, os, urllib.request
def handler(event, context):
    return {"batchItemFailures": []}
"""


class SampleStack(cdk.Stack):
    """Rules and a topic feed a queue, the queue a function; encrypted, with dead-letter queues."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        if self.node.try_get_context("break"):
            aws_sqs.CfnQueue(self, "Broken", delay_seconds=1_000_000)
        key = aws_kms.Key(self, "Key", alias="alias/sample", removal_policy=cdk.RemovalPolicy.DESTROY)
        topic = aws_sns.Topic(self, "Topic", master_key=key, enforce_ssl=True)
        topic.add_subscription(aws_sns_subscriptions.EmailSubscription("ops@example.com"))
        queue = self._queue(key)
        topic.add_subscription(aws_sns_subscriptions.SqsSubscription(queue, raw_message_delivery=True))
        self._rules(queue)
        function = self._function(queue, topic)
        alarm = aws_cloudwatch.Alarm(
            self,
            "Alarm",
            metric=aws_cloudwatch.MathExpression(
                expression="a + b",
                using_metrics={
                    "a": queue.metric_approximate_number_of_messages_visible(),
                    "b": function.metric_errors(),
                },
            ),
            threshold=1,
            evaluation_periods=1,
        )
        function.add_permission(
            "Alarms",
            principal=aws_iam.ServicePrincipal("lambda.alarms.cloudwatch.amazonaws.com"),
            source_arn=alarm.alarm_arn,
        )
        sweep = aws_events.Rule(self, "Sweep", schedule=aws_events.Schedule.rate(cdk.Duration.minutes(1)))
        time = aws_events.RuleTargetInput.from_object({"time": aws_events.EventField.from_path("$.time")})
        sweep.add_target(aws_events_targets.LambdaFunction(function, event=time, retry_attempts=0))
        aws_cloudwatch.Dashboard(self, "Dashboard", dashboard_name="Sample-dashboard")
        aws_logs.CfnQueryDefinition(self, "Query", name="Sample/all", query_string="fields @message")
        cdk.CfnOutput(self, "SweepRuleName", value=sweep.rule_name)
        cdk.CfnOutput(self, "QueueUrl", value=queue.queue_url)
        cdk.CfnOutput(self, "TopicArn", value=topic.topic_arn)
        cdk.CfnOutput(self, "AlarmName", value=alarm.alarm_name)
        cdk.CfnOutput(self, "Word", value=self.node.try_get_context("word") or "none")

    def _queue(self, key: aws_kms.IKey) -> aws_sqs.Queue:
        dead = aws_sqs.Queue(self, "Dead", encryption_master_key=key, enforce_ssl=True)
        return aws_sqs.Queue(
            self,
            "Queue",
            encryption_master_key=key,
            enforce_ssl=True,
            visibility_timeout=cdk.Duration.seconds(60),
            dead_letter_queue=aws_sqs.DeadLetterQueue(queue=dead, max_receive_count=5),
        )

    def _rules(self, queue: aws_sqs.IQueue) -> None:
        undelivered = aws_sqs.Queue(self, "Undelivered", enforce_ssl=True)
        for name, pattern in (
            ("Health", aws_events.EventPattern(source=["aws.sagemaker"])),
            ("Alarms", aws_events.EventPattern(detail={"alarmName": [{"prefix": "hyperpod-reboot-"}]})),
        ):
            rule = aws_events.Rule(self, name, event_pattern=pattern)
            rule.add_target(aws_events_targets.SqsQueue(queue, dead_letter_queue=undelivered))

    def _function(self, queue: aws_sqs.IQueue, topic: aws_sns.ITopic) -> aws_lambda.Function:
        failed = aws_sqs.Queue(self, "FailedInvocations", enforce_ssl=True)
        function = aws_lambda.Function(
            self,
            "Function",
            runtime=aws_lambda.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=aws_lambda.Code.from_inline(_CODE),
            dead_letter_queue=failed,
        )
        function.add_event_source(
            aws_lambda_event_sources.SqsEventSource(
                queue,
                batch_size=100,
                max_batching_window=cdk.Duration.seconds(1),
                report_batch_item_failures=True,
                max_concurrency=5,
            )
        )
        table = aws_dynamodb.TableV2(
            self,
            "Table",
            partition_key=aws_dynamodb.Attribute(name="pk", type=aws_dynamodb.AttributeType.STRING),
            time_to_live_attribute="expires",
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        table.grant_read_write_data(function)
        topic.grant_publish(function)
        return function


app = cdk.App()
SampleStack(app, "Sample")
app.synth()

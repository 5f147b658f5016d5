"""Tests the ledger's table and index, and the parameter of the mode."""

from node_remediation.settings import INDEX_NAME
from tests.infra.template import Template

_TESTED_BELOW = ("AttributeDefinitions", "GlobalSecondaryIndexes", "SSESpecification")


def test_ledger_is_a_table_with_one_key_whose_items_expire(default: Template) -> None:
    """The comparison covers all properties but index and encryption."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert {key: table[key] for key in table if key not in _TESTED_BELOW} == {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
    }


def test_index_is_sparse_holds_keys_alone_and_is_sorted_by_due(default: Template) -> None:
    """A shard is a string; `due` is a number, in milliseconds since 1970."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": INDEX_NAME,
            "KeySchema": [
                {"AttributeName": "shard", "KeyType": "HASH"},
                {"AttributeName": "due", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    assert types == {"pk": "S", "shard": "S", "due": "N"}


def test_ledger_is_encrypted_with_the_key(default: Template) -> None:
    """It is the stack's one customer-managed key."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert table["SSESpecification"] == {
        "KMSMasterKeyId": "<EncryptionKey.Arn>",
        "SSEEnabled": True,
        "SSEType": "KMS",
    }


def test_a_deploy_cannot_change_what_an_operator_set(default: Template, full: Template) -> None:
    """CloudFormation would overwrite a parameter that the stack owns. Its name depends on no setting."""
    assert not default.of("AWS::SSM::Parameter")
    assert default.outputs["ModeParameterName"] == full.outputs["ModeParameterName"]

"""The ledger's table, and the mode's parameter."""

from tests.infra.template import Template


def test_ledger_is_a_table_of_items_by_one_key_that_forgets_by_itself(default: Template) -> None:
    """The whole of it but what encrypts it."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert {key: table[key] for key in table if key != "SSESpecification"} == {
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
    }


def test_ledger_is_encrypted_with_the_key(default: Template) -> None:
    """As all else that is at rest here."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert table["SSESpecification"] == {
        "KMSMasterKeyId": "<EncryptionKey.Arn>",
        "SSEEnabled": True,
        "SSEType": "KMS",
    }


def test_a_deploy_cannot_change_what_an_operator_set(default: Template, full: Template) -> None:
    """A parameter that the stack owned would be written over; its name does not depend on a setting."""
    assert not default.of("AWS::SSM::Parameter")
    assert default.outputs["ModeParameterName"] == full.outputs["ModeParameterName"]

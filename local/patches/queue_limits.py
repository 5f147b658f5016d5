"""Gap: the emulator's message size counts bodies only; AWS counts the attributes' names, types and values too.

Touches: `sqs._HANDLERS`, `sqs._Err`.
"""

from typing import Any

from ministack.services import sqs

_MAX_BYTES = 1_048_576


def apply() -> None:
    """Refuse messages and batches over 1 MiB as AWS does."""
    send, send_batch = sqs._HANDLERS["SendMessage"], sqs._HANDLERS["SendMessageBatch"]

    def checked_send(data: dict[str, Any], url: str) -> Any:
        if message_bytes(data) > _MAX_BYTES:
            raise sqs._Err(
                "InvalidParameterValue",
                f"One or more parameters are invalid. Reason: Message must be shorter than {_MAX_BYTES} bytes.",
            )
        return send(data, url)

    def checked_send_batch(data: dict[str, Any], url: str) -> Any:
        total = sum(message_bytes(entry) for entry in data.get("Entries") or [])
        if total > _MAX_BYTES:
            raise sqs._Err(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {_MAX_BYTES} bytes. You have sent {total} bytes.",
            )
        return send_batch(data, url)

    sqs._HANDLERS.update({"SendMessage": checked_send, "SendMessageBatch": checked_send_batch})


def message_bytes(message: dict[str, Any]) -> int:
    """Count the bytes of a SendMessage request or batch entry as SQS does."""
    size = len((message.get("MessageBody") or "").encode())
    for name, value in (message.get("MessageAttributes") or {}).items():
        content = value.get("StringValue") or value.get("BinaryValue") or ""
        size += len(name.encode()) + len(value.get("DataType", "").encode()) + len(content)
    return size

"""Closes gaps between the pinned emulator and AWS, one per file. All of it touches the emulator's private names."""

from local.patches import (
    alarm_actions,
    alarm_contributors,
    alarm_records,
    async_failures,
    authorisation,
    event_source_mapping,
    event_time,
    function_runtime,
    mail,
    message_move,
    query_definitions,
    queue_limits,
    rule_targets,
    secure_transport,
    table_encryption,
)

_PATCHES = (
    secure_transport,
    authorisation,
    table_encryption,
    queue_limits,
    event_source_mapping,
    message_move,
    event_time,
    rule_targets,
    mail,
    query_definitions,
    alarm_actions,
    alarm_records,  # around the actions: what they tell of has its time by then
    alarm_contributors,
    async_failures,
    function_runtime,
)


def apply_all() -> None:
    """Close every gap; once per process, before the first request."""
    for patch in _PATCHES:
        patch.apply()

"""Which certificate roots the function's clients trust, against a real TLS server."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import SSLError
from botocore.httpsession import DEFAULT_CA_BUNDLE
from botocore.session import Session

from node_remediation import session as module
from node_remediation.session import open_session
from tests.unit.tls import Server, tls_server

ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=5)
SAFE = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=5)
STRANGER = Path(DEFAULT_CA_BUNDLE)  # real roots; none of them signed the server's certificate


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with tls_server(tmp_path) as server:
        yield server


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Log:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Log()


def _open(log: Log, *, few: Path, every: Path, monkeypatch: pytest.MonkeyPatch, partition: str = "aws") -> Session:
    monkeypatch.setattr(module, "_ALL_ROOTS", every)
    return open_session(partition=partition, warn=log.lines.append, few=few)


def _reboot(client: Any) -> Any:
    return client.batch_reboot_cluster_nodes(ClusterName="ml-a", NodeIds=["i-0123456789abcdef0"])


def test_certificate_of_the_few_roots_needs_no_more(
    server: Server, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of all is not even looked at."""
    session = _open(log, few=server.root, every=tmp_path / "missing.pem", monkeypatch=monkeypatch)
    _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert (server.operations, log.lines) == (["BatchRebootClusterNodes"], [])


@pytest.mark.parametrize("attempts", [ONCE, SAFE], ids=["once", "safe"])
def test_certificate_of_another_root_is_checked_again_by_all_roots(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch, attempts: Config
) -> None:
    """Even for a call that the SDK is not to repeat: it was never sent. One line says so."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    session = _open(log, few=STRANGER, every=server.root, monkeypatch=monkeypatch)
    _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=attempts))
    assert server.operations == ["BatchRebootClusterNodes"]
    (line,) = log.lines
    assert line.startswith("certificate roots: the few do not do, all are used from now on: SSL validation failed for")


def test_what_one_client_found_out_holds_for_all_of_the_session(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that were made before and after: each connects at once, and nothing more is logged."""
    session = _open(log, few=STRANGER, every=server.root, monkeypatch=monkeypatch)
    before = session.create_client("sqs", endpoint_url=server.url, config=ONCE)
    _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    retries = []
    before.meta.events.register("needs-retry", lambda caught_exception, **_: retries.append(caught_exception))
    after = session.create_client("sqs", endpoint_url=server.url, config=ONCE)
    client: Any
    for client in (before, after):
        client.send_message_batch(QueueUrl="https://queue", Entries=[{"Id": "0", "MessageBody": "x"}])
    assert server.operations == ["BatchRebootClusterNodes", "SendMessageBatch", "SendMessageBatch"]
    assert (len(log.lines), retries) == (1, [None])


@pytest.mark.parametrize("attempts", [ONCE, SAFE], ids=["once", "safe"])
def test_certificate_that_no_root_signed_is_an_error_after_one_more_try(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch, attempts: Config
) -> None:
    """For each request again: the next may meet another server."""
    session = _open(log, few=STRANGER, every=STRANGER, monkeypatch=monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    client = session.create_client("sagemaker", endpoint_url=server.url, config=attempts)
    tries: list[object] = []
    client.meta.events.register("before-send", lambda **_: tries.append(1))
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        _reboot(client)
    assert len(tries) == {ONCE: 2, SAFE: 3}[attempts]
    assert server.operations == []


def test_connection_that_was_lost_is_not_sent_again(server: Server, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a refused certificate proves that nothing was sent."""
    session = _open(log, few=server.root, every=STRANGER, monkeypatch=monkeypatch)
    client = session.create_client("sagemaker", endpoint_url=server.url, config=ONCE)
    tries: list[object] = []

    def lose(**_: object) -> None:
        tries.append(1)
        raise SSLError(endpoint_url=server.url, error=ConnectionResetError("connection reset"))

    client.meta.events.register("before-send", lose)
    with pytest.raises(SSLError):
        _reboot(client)
    assert (len(tries), log.lines) == (1, [])


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-iso", "aws-eusc"])
def test_other_partitions_have_all_roots_from_the_start(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    """Their endpoints' certificates may be signed by others than Amazon."""
    session = _open(log, few=server.root, every=STRANGER, monkeypatch=monkeypatch, partition=partition)
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert log.lines == []


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_bundle_of_the_environment_overrides_both(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As in any SDK, and with no way round it: who names roots means these."""
    monkeypatch.setenv(name, str(server.root))
    session = _open(log, few=STRANGER, every=STRANGER, monkeypatch=monkeypatch)
    _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert server.operations == ["BatchRebootClusterNodes"]
    monkeypatch.setenv(name, str(STRANGER))
    session = _open(log, few=server.root, every=server.root, monkeypatch=monkeypatch)
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert log.lines == []


def test_bundle_of_the_configuration_file_overrides_both(
    server: Server, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is one: Lambda has none by itself."""
    config = tmp_path / "config"
    config.write_text(f"[default]\nca_bundle = {server.root}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    session = _open(log, few=STRANGER, every=STRANGER, monkeypatch=monkeypatch)
    _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert log.lines == []


def test_sources_without_the_short_file_use_all_roots(
    server: Server, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the asset has it."""
    session = _open(log, few=tmp_path / "missing.pem", every=server.root, monkeypatch=monkeypatch)
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        _reboot(session.create_client("sagemaker", endpoint_url=server.url, config=ONCE))
    assert log.lines == []

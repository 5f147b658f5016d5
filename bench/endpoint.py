"""Puts the local AWS behind TLS for all builds: every answer equally late, every call counted."""

import http.client
import re
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs

import botocore

from bench.capacity import NO_UNITS, Units, units_of
from bench.tools import BenchError, run

HOST = "localhost"


class Certificate:
    """Makes the server's certificate, for two days. `roots` is what botocore ships, with this certificate added."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.chain, self.key, self.roots = (directory / name for name in ("server.pem", "server.key", "roots.pem"))
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
        files = ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(self.key), "-out", str(self.chain)]
        try:
            run([*made, *files])
        except FileNotFoundError:
            raise BenchError("openssl is not on PATH: the bench makes its certificate with it") from None
        shipped = Path(botocore.__file__).parent / "cacert.pem"
        self.roots.write_text(f"{shipped.read_text()}\n{self.chain.read_text()}")


class Endpoint:
    """Serves TLS in front of the local AWS. An answer leaves `seconds` after its request came."""

    def __init__(self, certificate: Certificate, backend_port: int, *, seconds: float) -> None:
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self.units = NO_UNITS
        self._lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        self._server = _Server(self, backend_port)
        # The handshake belongs to the connection's own thread, not to the one that accepts.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Count from nothing."""
        with self._lock:
            self.calls, self.units = Counter(), NO_UNITS

    def count(self, name: str, units: Units) -> None:
        with self._lock:
            self.calls[name] += 1
            self.units += units


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, endpoint: Endpoint, backend_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = endpoint
        self.backend_port = backend_port

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that ends with its connections open is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: in two, the second would wait for the client's acknowledgement
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._backend = http.client.HTTPConnection("127.0.0.1", self.server.backend_port, timeout=60)

    def finish(self) -> None:
        self._backend.close()
        super().finish()

    def do_POST(self) -> None:  # http.server's name
        came = time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._backend.request("POST", self.path, body, dict(self.headers.items()))
        answer = self._backend.getresponse()
        content = answer.read()
        endpoint = self.server.endpoint
        name = call_name(self.headers.get("X-Amz-Target"), self.path, body)
        endpoint.count(name, units_of(name, body, content))
        time.sleep(max(0.0, endpoint.seconds - (time.monotonic() - came)))
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


_SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSSM": "ssm", "AmazonSQS": "sqs", "SageMaker": "sagemaker"}
_SERVICES |= {"GraniteServiceVersion20100801": "cloudwatch"}
# The path of CloudWatch's protocol, RPC v2.
_PATH = re.compile(r"/service/(\w+)/operation/(\w+)")


def call_name(target: str | None, path: str, body: bytes) -> str:
    """Return `service:Operation` of a request: by its target header, its path, or in SNS's protocol by its body."""
    if found := _PATH.fullmatch(path):
        return f"{_SERVICES.get(found[1], found[1])}:{found[2]}"
    if target:
        prefix, _, operation = target.rpartition(".")
        return f"{_SERVICES.get(prefix, prefix)}:{operation}"
    return f"sns:{parse_qs(body.decode()).get('Action', ['?'])[0]}"

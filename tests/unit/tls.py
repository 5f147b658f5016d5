"""A TLS server at hand whose certificate is signed by a root that no list has: the test's own."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

# Made by OpenSSL (prime256v1, 2020 to 2120): a root, and a leaf of its own for `localhost`. They open nothing.
_ROOT = """
MIIBWzCCAQGgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAl0ZXN0IHJvb3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAx
MDEwMDAwMDBaMBQxEjAQBgNVBAMMCXRlc3Qgcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDJbBfh3VXhbZLKU0TIhq3eT
MgcQxyiovCirVdNC7p5dIrMHRPfTIOd7tFr95mBA7D7CzjZ07R95XGPnZ6DQ3mWjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0P
AQH/BAQDAgIEMB0GA1UdDgQWBBQ/unVdpDJYXtGyM8nceCuKVtvhgDAKBggqhkjOPQQDAgNIADBFAiBA9PB0F4LrI24KErEbmJtZ
x1dzHLockx94eXPqTsxc+gIhAPDXSuJMPAWdvKDyb6rwaezckus83dd5R5rydekuayf7
"""
_LEAF = """
MIIBmjCCAUGgAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAl0ZXN0IHJvb3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAx
MDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABG6HgW2xFr75XDXNhLo/HKD/
CF4VjZHpEF9sPlGycX+BQSvjjyOBXT9P2hQDlDVovmrKiMwUyOP33orKOp3od6CjgYEwfzAaBgNVHREEEzARgglsb2NhbGhvc3SH
BH8AAAEwDAYDVR0TAQH/BAIwADATBgNVHSUEDDAKBggrBgEFBQcDATAdBgNVHQ4EFgQUwg+HL13oQ1DGkfkwX5hbGWBdumswHwYD
VR0jBBgwFoAUP7p1XaQyWF7RsjPJ3Hgrilbb4YAwCgYIKoZIzj0EAwIDRwAwRAIgVK6CcbLptQDaO19YwUVa3vGZZIBnR3Yk5uxP
0mrmPPICIEODytRuVtXRrAHHKPWao7e5zHQBxAzyqAqxQm5EtKjM
"""
_LEAF_KEY = """
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGo1swbfkVhwiBL/pYSyBwx+7ZTWQQ2tZJ6JKYqiMd7ehRANCAARu
h4FtsRa++Vw1zYS6Pxyg/wheFY2R6RBfbD5RsnF/gUEr448jgV0/T9oUA5Q1aL5qyojMFMjj996Kyjqd6Heg
"""


@dataclass
class Server:
    """Answers every request with `{}`, and keeps which operations it was asked for."""

    root: Path
    port: int = 0
    operations: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextmanager
def tls_server(directory: Path) -> Iterator[Server]:
    """A server while it lasts; the root that signed it is a file in the directory."""
    server = Server(_pem(directory / "root.pem", "CERTIFICATE", _ROOT))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            server.operations.append(self.headers.get("X-Amz-Target", "").partition(".")[2])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            self.close_connection = True  # the next request is a new handshake

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        _pem(directory / "leaf.pem", "CERTIFICATE", _LEAF), _pem(directory / "leaf.key", "PRIVATE KEY", _LEAF_KEY)
    )
    with _Quiet(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class _Quiet(HTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that refuses the certificate hangs up: that is what is tested."""


def _pem(path: Path, kind: str, content: str) -> Path:
    text = base64.encodebytes(base64.b64decode(content)).decode()
    path.write_text(f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n")
    return path

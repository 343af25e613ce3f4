"""The stand-in as an HTTP server."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

from local.bedrock.commands import run_command
from local.bedrock.control import PREFIX
from local.bedrock.errors import ModelMismatchError
from local.bedrock.service import BUG
from local.bedrock.simulation import Simulation

if TYPE_CHECKING:
    from types import TracebackType

    from local.bedrock.service import Answer

__all__ = ["StandIn"]

_CLOSING_SECONDS: Final = 5.0
_PHRASES: Final[dict[int, str]] = {int(status): status.phrase for status in HTTPStatus}


class StandIn(Simulation):
    """Bedrock's batch inference API for real clients, on a port of this machine.

    A context manager; or `start()` and `stop()`. *settings* are those of `Simulation`.

    Leaving the context raises ModelMismatchError if the stand-in was about to send something that
    the API's model does not allow (it answered with a 500), or any other internal error.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **settings: Any,  # noqa: ANN401 - of the simulation
    ) -> None:
        super().__init__(**settings)
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self.service.bugs:
            raise self.service.bugs[0]

    def start(self) -> None:
        """Listen, and serve in threads of this process."""
        self._server = _Server(self._address, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.01},
            name="bedrock-stand-in",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    @property
    def endpoint_url(self) -> str:
        """The value of endpoint_url or AWS_ENDPOINT_URL_BEDROCK for clients."""
        if self._server is None:
            message = "the stand-in is not started"
            raise RuntimeError(message)
        return f"http://{self._address[0]}:{self._server.server_address[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The server must not refuse a burst of connections from many client threads.
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], simulation: Simulation) -> None:
        self.simulation = simulation
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in the base class
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as in the base class
        """Keep internal errors; a client that disconnects early is normal."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.simulation.service.bugs.append(error)

    def close_connections(self) -> None:
        """Close the connections that clients keep alive, and wait for their threads."""
        self.closing.set()
        with self._changed:
            for request in self._open:
                # The thread closes the connection itself; this wakes its read.
                _shut(request)
            self._changed.wait_for(lambda: not self._open, timeout=_CLOSING_SECONDS)


def _shut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Log nothing: the calls are counted."""

    def handle_request(self) -> None:
        """Serve any method: the API's model routes."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path.startswith(PREFIX):
            status, document = run_command(self.server.simulation, path[len(PREFIX) :], body)
            self._send(status, json.dumps(document).encode())
            return
        simulation = self.server.simulation
        route = simulation.api.route(self.command, path)
        if route is None:
            self._send_error(HTTPStatus.NOT_FOUND, "UnknownOperationException", "No such operation")
            return
        operation, path_values = route
        scope = simulation.scope(self.headers.get("Authorization") or "")
        try:
            answer = simulation.service.answer(operation, scope, path_values, query, body)
        except ModelMismatchError as error:
            simulation.service.bugs.append(error)
            self._send_error(HTTPStatus.INTERNAL_SERVER_ERROR, BUG, str(error))
            return
        self._send_answer(answer)

    # The base class looks its methods up by these names.
    do_GET = do_POST = handle_request  # noqa: N815 - the base class's naming
    do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815 - the base class's naming

    def _send_answer(self, answer: Answer) -> None:
        if answer.delay:
            # Ends early when the server stops.
            self.server.closing.wait(answer.delay)
        payload = json.dumps(answer.document, separators=(",", ":")).encode()
        if answer.breakage == "reset":
            self._reset()
        elif answer.breakage == "truncated":
            self._send(answer.status, payload[: len(payload) // 2], answer.error)
        elif answer.breakage == "garbage":
            self._send(HTTPStatus.OK, b"<html><body>It works!</body></html>", content="text/html")
        else:
            self._send(answer.status, payload, answer.error)

    def _send_error(self, status: int, error: str, message: str) -> None:
        self._send(status, json.dumps({"message": message}).encode(), error)

    def _send(
        self,
        status: int,
        payload: bytes,
        error: str | None = None,
        *,
        content: str = "application/json",
    ) -> None:
        # One write, and none of send_header's bookkeeping: this is the hot path.
        head = (
            f"HTTP/1.1 {int(status)} {_PHRASES.get(status, 'Unknown')}\r\n"
            f"Date: {self.date_time_string()}\r\n"
            f"Content-Type: {content}\r\n"
            f"Content-Length: {len(payload)}\r\n"
            f"x-amzn-RequestId: {uuid.uuid4()}\r\n"
        )
        if error is not None:
            head += f"x-amzn-ErrorType: {error}\r\n"
        self.wfile.write(head.encode("latin-1") + b"\r\n" + payload)

    def _reset(self) -> None:
        # Closing without lingering sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

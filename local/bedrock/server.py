"""The stand-in as an HTTP server, and the object that a test holds of it."""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
import time
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

from local.bedrock.clock import Clock, SimulatedClock
from local.bedrock.control import PREFIX, run_command
from local.bedrock.faults import Faults
from local.bedrock.jobs import DEFAULT_TIMEOUT_HOURS, Scope, Store
from local.bedrock.model import ModelMismatchError, load_api
from local.bedrock.service import BUG, Service

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from local.bedrock.lifecycle import Script
    from local.bedrock.service import Answer

__all__ = ["StandIn"]

_CREDENTIAL: Final = re.compile(r"Credential=([^/,\s]+)/\d{8}/([a-z0-9-]+)/")
_ACCOUNT: Final = re.compile(r"\d{12}")
_CLOSING_SECONDS: Final = 5.0
_PHRASES: Final[dict[int, str]] = {int(status): status.phrase for status in HTTPStatus}


class StandIn:
    """Bedrock's batch inference API for real clients, on a port of this machine.

    A context manager; or `start()` and `stop()`. The caller's account is its access key id if
    that is 12 digits, else what `account_of` says, else *account*; its region is that of its
    signature, else *region*. Without *clock*, simulated time is real time. *seed* decides
    everything that is drawn.

    Leaving the context raises ModelMismatchError if the stand-in was about to send something that
    the API's model does not allow (the answer was a 500 then), or whatever else went wrong inside.
    """

    def __init__(  # noqa: PLR0913 - settings with defaults, all named
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        account: str = "000000000000",
        region: str = "us-east-1",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock: Clock = SimulatedClock() if clock is None else clock
        self.api = load_api()
        self.store = Store(self.api, self.clock, seed)
        listed = {name: frozenset(o.errors) for name, o in self.api.operations.items()}
        self.faults = Faults(self.clock, seed, listed, monotonic)
        self.service = Service(self.api, self.store, self.faults, self.clock)
        self._default = Scope(account, region)
        self.account_of: Callable[[str], str | None] = lambda _: None
        """Whose an access key id is that is no account's number; None leaves it to the default."""
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
        """What a client takes as endpoint_url or AWS_ENDPOINT_URL_BEDROCK."""
        if self._server is None:
            message = "the stand-in is not started"
            raise RuntimeError(message)
        return f"http://{self._address[0]}:{self._server.server_address[1]}"

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls there were, by operation and outcome (`OK`, or the error's name)."""
        return self.service.calls

    def add_job(  # noqa: PLR0913 - the attributes of a job, all named
        self,
        *,
        script: Script | None = None,
        account: str | None = None,
        region: str | None = None,
        job_name: str | None = None,
        model_id: str | None = None,
        total_records: int | None = None,
        submitted_at: datetime | None = None,
        timeout_hours: int = DEFAULT_TIMEOUT_HOURS,
    ) -> str:
        """Put a job there and return its ARN; see Store.add for what is drawn, and for errors."""
        scope = Scope(account or self._default.account, region or self._default.region)
        return self.store.add(
            scope,
            script=script,
            job_name=job_name,
            model_id=model_id,
            total_records=total_records,
            submitted_at=submitted_at,
            timeout_hours=timeout_hours,
        )

    def plan(self, job_name: str, script: Script, total_records: int | None = None) -> None:
        """Let jobs that are created through the API with this name follow *script*."""
        self.store.plan(job_name, script, total_records)

    def job(self, arn: str) -> dict[str, Any]:
        """Return a job's attributes as the API has them now, no fault applied; KeyError if none."""
        return self.store.find(arn).attributes(self.clock.now())

    def reset(self) -> None:
        """Forget jobs, plans, faults and counts. The clock goes on."""
        self.store.reset()
        self.faults.clear()
        self.service.reset_calls()

    def scope(self, authorization: str) -> Scope:
        """Return the account and region that a request was signed for."""
        match = _CREDENTIAL.search(authorization)
        if match is None:
            return self._default
        key, region = match.groups()
        account = key if _ACCOUNT.fullmatch(key) else self.account_of(key)
        return Scope(account or self._default.account, region)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A burst of connections from many client threads must not be refused.
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], stand_in: StandIn) -> None:
        self.stand_in = stand_in
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
        """Keep what went wrong inside; a client that goes away in the middle is normal."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.stand_in.service.bugs.append(error)

    def close_connections(self) -> None:
        """End the connections that clients keep alive, and wait for their threads."""
        self.closing.set()
        with self._changed:
            for request in self._open:
                # The thread's own close is the only one; this just wakes its read.
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
        """Serve any method: routing is the API model's business."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path.startswith(PREFIX):
            status, document = run_command(self.server.stand_in, path[len(PREFIX) :], body)
            self._send(status, json.dumps(document).encode())
            return
        stand_in = self.server.stand_in
        route = stand_in.api.route(self.command, path)
        if route is None:
            self._send_error(HTTPStatus.NOT_FOUND, "UnknownOperationException", "No such operation")
            return
        operation, path_values = route
        scope = stand_in.scope(self.headers.get("Authorization") or "")
        try:
            answer = stand_in.service.answer(operation, scope, path_values, query, body)
        except ModelMismatchError as error:
            stand_in.service.bugs.append(error)
            self._send_error(HTTPStatus.INTERNAL_SERVER_ERROR, BUG, str(error))
            return
        self._send_answer(answer)

    # The base class looks its methods up by these names.
    do_GET = do_POST = handle_request  # noqa: N815 - the base class's naming
    do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815 - the base class's naming

    def _send_answer(self, answer: Answer) -> None:
        if answer.delay:
            # Ends early when the server stops: nobody waits for a fault.
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
        # Closing with no time to linger sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

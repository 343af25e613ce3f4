"""A stand-in for Service Quotas over HTTP: ListServiceQuotas of Amazon Bedrock, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

ACTIVE_JOBS = "Sum of in-progress and submitted batch inference jobs using a base model for "
_OPERATION = "ListServiceQuotas"
_SHAPE = (
    botocore.session.get_session()
    .get_service_model("service-quotas")
    .operation_model(_OPERATION)
    .output_shape
)


@dataclass
class Quotas:
    """The quotas that the stand-in has: values by name of the model.

    `refusal` is the HTTP status and error code that it answers instead. `calls` counts requests.
    """

    endpoint_url: str = ""
    limits: dict[str, float] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    calls: int = 0

    def page(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, which botocore's model describes."""
        names = ["Records per batch inference job for Claude 3 Haiku"]
        names += [ACTIVE_JOBS + name for name in self.limits]
        quotas: list[dict[str, Any]] = [
            {
                "ServiceCode": request["ServiceCode"],
                "ServiceName": "Amazon Bedrock",
                "QuotaName": name,
                "QuotaCode": f"L-{place:08X}",
                "Value": float(self.limits.get(name.removeprefix(ACTIVE_JOBS), 50_000)),
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
            for place, name in enumerate(names)
        ]
        # One quota a page, so that each test reads several.
        start = int(request.get("NextToken", 0))
        answer: dict[str, Any] = {"Quotas": quotas[start : start + 1]}
        if start + 1 < len(quotas):
            answer["NextToken"] = str(start + 1)
        assert not ParamValidator().validate(answer, _SHAPE).has_errors()
        return answer


@contextmanager
def service_quotas() -> Iterator[Quotas]:
    """A stand-in that answers until the block ends."""
    quotas = Quotas()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            quotas.calls += 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"].endswith(f".{_OPERATION}")
            status, answer = 200, {}
            if quotas.refusal is not None:
                status, code = quotas.refusal
                answer = {"__type": code, "message": "refused"}
            else:
                answer = quotas.page(body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    quotas.endpoint_url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield quotas
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""boto3 clients of the local cloud, whatever the user's own AWS settings say."""

import os
import threading
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient

# A call may run a whole poll, and is never retried: a second Invoke would be a second poll. The
# proxies of the environment do not apply to this machine.
_CONFIG = Config(connect_timeout=5, read_timeout=300, retries={"total_max_attempts": 1}, proxies={})


def _say_tls(**call: Any) -> None:  # noqa: ANN401 - the shape that botocore's hooks have
    call["params"]["headers"]["X-Forwarded-Proto"] = "https"


class Clients:
    """Makes one client per service and keeps it until `close`: `clients("dynamodb")`.

    They use neither the environment's `AWS_*` variables nor the files under `~/.aws`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        access_key: str,
        secret_key: str,
        region: str,
        session_token: str | None = None,
    ) -> None:
        core = botocore.session.Session()
        for variable, value in (
            ("profile", None),
            ("config_file", os.devnull),
            ("credentials_file", os.devnull),
        ):
            # botocore reads these three first, and fails for an AWS_PROFILE that does not exist.
            core.session_var_map[variable] = (None, None, value, None)
        # Policies that refuse calls without TLS (`aws:SecureTransport`) apply in the local cloud
        # too, also to root. It speaks plain HTTP, and trusts the header of a TLS proxy.
        core.register("before-call", _say_tls)
        self._session = boto3.Session(
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=session_token,
            region_name=region,
            botocore_session=core,
        )
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    @overload
    def __call__(self, service: Literal["bedrock"]) -> "BedrockClient": ...
    @overload
    def __call__(self, service: Literal["cloudformation"]) -> "CloudFormationClient": ...
    @overload
    def __call__(self, service: Literal["cloudwatch"]) -> "CloudWatchClient": ...
    @overload
    def __call__(self, service: Literal["dynamodb"]) -> "DynamoDBClient": ...
    @overload
    def __call__(self, service: Literal["events"]) -> "EventBridgeClient": ...
    @overload
    def __call__(self, service: Literal["lambda"]) -> "LambdaClient": ...
    @overload
    def __call__(self, service: Literal["logs"]) -> "CloudWatchLogsClient": ...
    @overload
    def __call__(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def __call__(self, service: Literal["scheduler"]) -> "EventBridgeSchedulerClient": ...
    @overload
    def __call__(self, service: Literal["sqs"]) -> "SQSClient": ...
    @overload
    def __call__(self, service: str) -> Any: ...  # noqa: ANN401 - only some services are typed

    def __call__(self, service: str) -> Any:
        """Return the client of `service`, a name that boto3 knows."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(  # type: ignore[call-overload]
                    service, endpoint_url=self._endpoint, config=_CONFIG
                )
            return self._clients[service]

    def close(self) -> None:
        """Close the connections; the next call makes new clients."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The local cloud: a ministack server as a child process, on a port and in a directory of its own.

This code relies on observed behavior of ministack 1.5.33:

- A function runs as a child process with the server's environment plus its own variables, and gets
  the server's address as `AWS_ENDPOINT_URL` unless that is already set. So it is never set on the
  server; `AWS_ENDPOINT_URL_<SERVICE>` of single services is, and reaches the functions.
- An access key id of twelve digits is the root user of that account. While IAM is enforced, an
  unknown access key id is refused, but signatures are not verified: any secret works.
- While IAM is enforced, a function's own key is a temporary one of its role (`ASIA...`). Functions
  that EventBridge and Scheduler invoke still run, but those two need no permission of their own.
- Enforced are identity policies, for each item of a DynamoDB transaction too, and resource
  policies: a queue that refuses calls without TLS refuses root's as well (see `local.clients`).
- `cdk deploy` does not work while IAM is enforced, so a stack is deployed first and the server
  then started again, on the same state, with `AUTH=true`.
- The port stays the same over a restart, because the URLs of queues contain it.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from local.clients import Clients
from local.waiting import wait_for

T = TypeVar("T")

ACCOUNT = "000000000000"
REGION = "us-east-1"
ROOT_SECRET = "local"  # noqa: S105 - not a secret: it opens a server on this machine only

_HOST = "127.0.0.1"
# Below the ports that Linux and macOS use for outgoing connections: one of those could otherwise
# take the port during a restart.
_PORTS = range(20_000, 32_000)
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOG_TAIL_CHARACTERS = 4_000
# The only variables of the user that the server and so the functions see.
_INHERITED = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")


class EmulatorError(RuntimeError):
    """The server did not start or stop; the message ends with the tail of its log."""


class Emulator:
    """One local cloud; a context manager that starts it and removes it completely.

    *environment* are variables for the server and so for the functions, such as
    `{"AWS_ENDPOINT_URL_BEDROCK": stand_in.url}`. State, log and temporary files go to *directory*:
    by default a temporary one, removed at the end. A given directory stays, and a later `Emulator`
    on it, with the same *port*, has the same state. *port* is on 127.0.0.1, a free one
    by default. *account* (twelve digits) and *region* are those of `client`.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        port: int | None = None,
        account: str = ACCOUNT,
        region: str = REGION,
    ) -> None:
        self.account = account
        self.region = region
        self.enforces_iam = False
        self._environment = dict(environment or {})
        self._keep = directory is not None
        self._directory = directory
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[tuple[str, str], Clients] = {}
        self._accounts: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The endpoint of every service, without a trailing slash."""
        return f"http://{_HOST}:{_started(self._port)}"

    @property
    def directory(self) -> Path:
        """The directory of state, log and temporary files."""
        return _started(self._directory)

    @property
    def log_path(self) -> Path:
        """The file with the server's output."""
        return self.directory / "emulator.log"

    @property
    def process_id(self) -> int:
        """The server's process id, which is also the id of its process group."""
        return _started(self._process).pid

    @property
    def client(self) -> Clients:
        """Clients of the default account's root user: `emulator.client("sqs")`."""
        return self.clients()

    def clients(self, account: str | None = None, region: str | None = None) -> Clients:
        """Clients of an account's root user; closed with the emulator."""
        key = (account or self.account, region or self.region)
        if key not in self._clients:
            self._clients[key] = Clients(
                self.url, access_key=key[0], secret_key=ROOT_SECRET, region=key[1]
            )
        return self._clients[key]

    def caller_environment(
        self, account: str | None = None, region: str | None = None
    ) -> dict[str, str]:
        """Variables that make any AWS tool or SDK work on the emulator as an account's root."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": account or self.account,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AWS_REGION": region or self.region,
            "AWS_DEFAULT_REGION": region or self.region,
        }

    def account_of(self, access_key: str) -> str | None:
        """The account of a key that the emulator issued, such as a role's; None if unknown."""
        if access_key not in self._accounts:
            try:
                answer = self.client("sts").get_access_key_info(AccessKeyId=access_key)
            except (BotoCoreError, ClientError):
                return None
            self._accounts[access_key] = answer["Account"]
        return self._accounts[access_key]

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises EmulatorError if it ends or does not answer within a minute, or runs already.
        """
        if self._process is not None:
            message = "the emulator runs already"
            raise EmulatorError(message)
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="local-cloud-"))
        for name in ("state", "objects", "tmp"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        if self._port is None:
            self._port = _free_port()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command
                [
                    sys.executable,
                    "-P",
                    str(Path(__file__).with_name("gateway.py")),
                    *([] if self._keep else [str(self._directory)]),
                ],
                cwd=self._directory,
                env=self._server_environment(self._directory, self._port),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: the functions it starts end with it, and Ctrl-C in the
                # terminal reaches only the starter, which then stops it in order.
                start_new_session=True,
            )
        try:
            wait_for(self._answers, _START_SECONDS, what="the emulator to answer")
        except BaseException as error:
            tail = self.log()[-_LOG_TAIL_CHARACTERS:]
            self._end_process(signal.SIGKILL)
            self._remove_directory()
            if isinstance(error, (TimeoutError, ChildProcessError)):
                message = f"the emulator did not start: {error}\n{tail}"
                raise EmulatorError(message) from error
            raise

    def stop(self) -> None:
        """Stop the server and everything it started; remove its directory unless it was given.

        Does nothing on a stopped emulator.
        """
        self._close_clients()
        try:
            self._end_process(signal.SIGTERM)
        finally:
            self._remove_directory()

    def restart(
        self, *, enforce_iam: bool | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Stop and start on the same port and state; `None` leaves a setting as it is.

        Raises EmulatorError as `start` does.
        """
        self._close_clients()
        self._end_process(signal.SIGTERM)
        if enforce_iam is not None:
            self.enforces_iam = enforce_iam
        if environment is not None:
            self._environment = dict(environment)
        self.start()

    def enforce_iam(self) -> None:
        """Restart so that every call except root's needs a policy that allows it.

        Raises EmulatorError as `start` does.
        """
        if not self.enforces_iam:
            self.restart(enforce_iam=True)

    def log(self) -> str:
        """Everything that the server has logged so far, over restarts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _server_environment(self, directory: Path, port: int) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": _HOST,
            "MINISTACK_ACCOUNT_ID": self.account,
            "MINISTACK_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AUTH": "true" if self.enforces_iam else "false",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(directory / "state"),
            "S3_DATA_DIR": str(directory / "objects"),
            # The server unpacks the code of functions here, and leaves it if it is killed: `stop`
            # removes it.
            "TMPDIR": str(directory / "tmp"),
            "HOME": str(directory),
            # Unused services that listen on fixed ports: two emulators on one machine would
            # conflict.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            **self._environment,
        }

    def _answers(self) -> bool:
        process = _started(self._process)
        if process.poll() is not None:
            message = f"it ended with exit code {process.returncode}"
            raise ChildProcessError(message)
        # No proxy of the environment: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/_ministack/ready", timeout=1):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _end_process(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.send_signal(first)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        finally:
            # The rest of the group: a server that ignored the signal, running functions.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_SECONDS)
            if process.stdin is not None:
                process.stdin.close()

    def _remove_directory(self) -> None:
        if self._directory is not None and not self._keep:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _close_clients(self) -> None:
        for clients in self._clients.values():
            clients.close()


def _started(value: T | None) -> T:
    if value is None:
        message = "the emulator is not running"
        raise EmulatorError(message)
    return value


def _free_port() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    message = f"no free port in {_PORTS}"
    raise EmulatorError(message)

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import boto3
import pytest
from moto import mock_aws

from bedrock_batch_monitor import settings
from bedrock_batch_monitor.app.telemetry import logger, metrics
from bedrock_batch_monitor.handlers import notify as module
from tests.support.chat import assert_is_custom_notification
from tests.support.contracts import SCHEMAS

from .conftest import REGION
from .test_handler import Context

SECRET = "patient 4711 has the following record"  # noqa: S105 - a customer's text in a message
UNREACHABLE = json.loads(
    (SCHEMAS / "v1" / "samples" / "batch-inference-job-unreachable.json").read_text()
)
SAMPLE = json.loads((SCHEMAS / "v1" / "samples" / "batch-inference-job-ended.json").read_text())


@dataclass
class Topics:
    """Both topics, each with a queue that receives what is published there."""

    sns: Any
    sqs: Any
    arns: dict[str, str]
    urls: dict[str, str]
    log: StringIO = field(default_factory=StringIO)

    def received(self, name: str) -> list[dict[str, Any]]:
        """The notifications that reached a topic's subscribers since the last call."""
        messages = self.sqs.receive_message(QueueUrl=self.urls[name], MaxNumberOfMessages=10)
        found = []
        for message in messages.get("Messages", []):
            found.append(json.loads(message["Body"]))
            self.sqs.delete_message(
                QueueUrl=self.urls[name], ReceiptHandle=message["ReceiptHandle"]
            )
        return found

    def lines(self, text: str) -> list[dict[str, Any]]:
        """What was logged with this message."""
        entries = (json.loads(line) for line in self.log.getvalue().splitlines())
        return [entry for entry in entries if entry["message"] == text]


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Iterator[Topics]:
    """The handler with the environment that the stack writes, on moto's topics."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        sns, sqs = (boto3.client(name, region_name=REGION) for name in ("sns", "sqs"))
        arns, urls = {}, {}
        for name in ("mails", "chat"):
            arns[name] = sns.create_topic(Name=name)["TopicArn"]
            urls[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
            attributes = sqs.get_queue_attributes(QueueUrl=urls[name], AttributeNames=["QueueArn"])[
                "Attributes"
            ]
            sns.subscribe(TopicArn=arns[name], Protocol="sqs", Endpoint=attributes["QueueArn"])
        monkeypatch.setenv(settings.EMAIL_TOPIC_ARN, arns["mails"])
        monkeypatch.setenv(settings.CHAT_TOPIC_ARN, arns["chat"])
        monkeypatch.setattr(metrics, "service", "BedrockBatchMonitor")
        found = Topics(sns, sqs, arns, urls)
        before = logger.registered_handler.setStream(found.log)
        module.notifier.cache_clear()
        try:
            yield found
        finally:
            logger.registered_handler.setStream(before)
            module.notifier.cache_clear()


def failed(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = copy.deepcopy(SAMPLE)
    event["detail"]["data"] |= {
        "status": "Failed",
        "outcome": "Failed",
        "message": f"{SECRET}\nmore",
        **changes,
    }
    return event


def invoke(event: Any) -> None:
    module.handler(event, Context())  # type: ignore[arg-type]


def test_event_reaches_both_topics(topics: Topics) -> None:
    """An email has a subject and plain text, a chat message is a custom notification."""
    invoke(failed())
    [mail], [chat] = topics.received("mails"), topics.received("chat")

    assert mail["Subject"] == "Bedrock batch job failed: nightly-summaries"
    assert mail["Message"].startswith("Batch job nightly-summaries failed.\n")
    assert f"Message: {SECRET}\n" in mail["Message"]
    message = json.loads(chat["Message"])
    assert_is_custom_notification(message)
    assert message["content"]["title"].endswith("Batch job nightly-summaries failed")


def test_log_line_names_job_and_outcome_without_customer_data(topics: Topics) -> None:
    """There is one line for each notification."""
    invoke(failed())

    [line] = topics.lines("notification sent")
    assert line["outcome"] == "Failed"
    assert line["jobArn"] == SAMPLE["resources"][0]
    assert SECRET not in topics.log.getvalue()


@pytest.mark.parametrize(
    ("unset", "reached", "silent"),
    [
        (settings.EMAIL_TOPIC_ARN, "chat", "mails"),
        (settings.CHAT_TOPIC_ARN, "mails", "chat"),
    ],
)
def test_deployment_with_one_topic_publishes_to_it(
    topics: Topics, monkeypatch: pytest.MonkeyPatch, unset: str, reached: str, silent: str
) -> None:
    monkeypatch.delenv(unset)
    invoke(failed())

    assert len(topics.received(reached)) == 1
    assert topics.received(silent) == []


@pytest.mark.parametrize(("gone", "reached"), [("mails", "chat"), ("chat", "mails")])
def test_failed_topic_fails_the_invocation_and_not_the_other_topic(
    topics: Topics, gone: str, reached: str
) -> None:
    """The invocation is retried."""
    topics.sns.delete_topic(TopicArn=topics.arns[gone])
    with pytest.raises(module.NotSentError, match=r"SNS\.NotFound"):
        invoke(failed())

    assert len(topics.received(reached)) == 1
    [line] = topics.lines("notification not sent")
    assert line["errors"] == ["SNS.NotFound"]
    assert SECRET not in topics.log.getvalue()


def test_repeated_event_is_notified_again(topics: Topics) -> None:
    """Delivery is at least once here too, with the same ID in the chat message."""
    invoke(failed())
    invoke(failed())
    messages = [json.loads(message["Message"]) for message in topics.received("chat")]

    assert len(topics.received("mails")) == 2
    assert {message["id"] for message in messages} == {SAMPLE["detail"]["metadata"]["eventId"]}
    assert len(messages) == 2


@pytest.mark.parametrize("event", [{}, [], {"detail-type": "Batch Inference Job Ended"}])
def test_forged_event_is_dropped_and_counted(
    topics: Topics, event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is logged with the reason; a retry would not help."""
    invoke(event)

    assert topics.received("mails") == topics.received("chat") == []
    [line] = topics.lines("event dropped")
    assert "no notification" in line["reason"]
    [document] = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert document["EventsMalformed"] == [1]
    assert document["service"] == "BedrockBatchMonitor"


@pytest.mark.parametrize("status", [None, "", 7])
def test_event_of_an_arn_that_was_never_readable_is_dropped(topics: Topics, status: Any) -> None:
    """The poll sends one summary of these; a message each could be a flood."""
    event = copy.deepcopy(UNREACHABLE)
    del event["detail"]["data"]["status"]
    if status is not None:
        event["detail"]["data"]["status"] = status
    invoke(event)

    assert topics.received("mails") == topics.received("chat") == []
    assert len(topics.lines("event left to the summary"))
    assert topics.lines("notification sent") == []


def test_event_of_a_job_that_was_readable_before_is_sent(topics: Topics) -> None:
    """A job that has had a status exists."""
    invoke(UNREACHABLE)

    assert len(topics.received("mails")) == len(topics.received("chat")) == 1


def test_summary_reaches_both_topics(topics: Topics) -> None:
    """One email and one message for any number of ARNs; none without an ARN."""
    arn = SAMPLE["resources"][0]
    assert module.notifier().publish_never_readable(()) == ()
    assert module.notifier().publish_never_readable([(arn, "AccessDeniedException")] * 500) == ()
    [mail], [chat] = topics.received("mails"), topics.received("chat")

    assert mail["Subject"].endswith("500 tracked job ARNs could never be read")
    assert "and 480 more" in mail["Message"]
    assert_is_custom_notification(json.loads(chat["Message"]))


@pytest.mark.parametrize(("gone", "reached"), [("mails", "chat"), ("chat", "mails")])
def test_summary_reports_the_topic_that_failed(topics: Topics, gone: str, reached: str) -> None:
    """The other topic gets the summary; the caller handles the error."""
    topics.sns.delete_topic(TopicArn=topics.arns[gone])
    [error] = module.notifier().publish_never_readable([(SAMPLE["resources"][0], "x")])

    assert error.code == "SNS.NotFound"
    assert len(topics.received(reached)) == 1


def test_longest_texts_are_accepted_by_sns(topics: Topics) -> None:
    invoke(failed(jobName="ü" * 300, message="\x00\u2028" + "x" * 5000, outputS3Uri="s3://" * 999))

    [mail] = topics.received("mails")
    assert len(mail["Subject"]) <= 99
    assert mail["Subject"].startswith("Bedrock batch job failed: ???")


def test_notifier_is_composed_without_a_call(topics: Topics) -> None:
    """Both topics share one client, which has made no call yet."""
    made = module.notifier()

    assert made.mails is not None
    assert made.chat is not None
    assert (made.mails.arn, made.chat.arn) == (topics.arns["mails"], topics.arns["chat"])
    assert made.mails._client is made.chat._client

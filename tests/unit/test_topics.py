"""Emails and chat messages: what is published to which topic, and what comes of a failure."""

from __future__ import annotations

import json
from typing import Any

import botocore.endpoint
import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.sns import SERVICE, Topic, topics
from bedrock_batch_monitor.app.notifier import Notifier
from bedrock_batch_monitor.presentation.messages import notification_of, texts_of, unreadable_texts
from tests.support.contracts import SCHEMAS
from tests.support.network import Network, session

MAILS = "arn:aws:sns:us-east-1:123456789012:mails"
CHAT = "arn:aws:sns:us-east-1:123456789012:chat"
NOTIFICATION = notification_of(
    json.loads((SCHEMAS / "v1" / "samples" / "batch-inference-job-stalled.json").read_text())
)
NEVER_READ = [("arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abc", "AccessDenied")]


class Sns:
    """The client of SNS: keeps what is published, and refuses some topics."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.published: list[dict[str, str]] = []

    def publish(self, **message: str) -> None:
        """Take a message."""
        if message["TopicArn"] in self.refused:
            reason = f"No{message['TopicArn'][-4:]}"
            raise ServiceError(SERVICE, reason, "it was deleted", status=404)
        self.published.append(message)


def notifier(sns: Any) -> Notifier:
    return Notifier(Topic(sns, MAILS), Topic(sns, CHAT))


def published(texts: Any) -> list[dict[str, str]]:
    chat = json.dumps(texts.chat, ensure_ascii=False)
    return [
        {"TopicArn": MAILS, "Message": texts.mail, "Subject": texts.subject},
        {"TopicArn": CHAT, "Message": chat},
    ]


def test_event_is_published_to_both_topics_and_only_the_email_has_a_subject() -> None:
    sns = Sns()
    assert notifier(sns).publish(NOTIFICATION) == ()
    assert sns.published == published(texts_of(NOTIFICATION))


def test_chat_message_is_published_without_escapes() -> None:
    """The emoji of a title has its own character: escapes would take three times as many bytes."""
    sns = Sns()
    notifier(sns).publish(NOTIFICATION)
    assert not sns.published[1]["Message"].isascii()


def test_arns_that_were_never_readable_are_published_as_one_summary() -> None:
    sns = Sns()
    assert notifier(sns).publish_never_readable(NEVER_READ) == ()
    assert sns.published == published(unreadable_texts(NEVER_READ))
    assert notifier(sns).publish_never_readable([]) == ()
    assert len(sns.published) == 2


@pytest.mark.parametrize("refused", [(), (MAILS,), (CHAT,), (MAILS, CHAT)])
def test_failure_of_one_topic_does_not_stop_the_other(refused: tuple[str, ...]) -> None:
    sns = Sns(*refused)
    codes = [f"SNS.No{arn[-4:]}" for arn in refused]
    assert [error.code for error in notifier(sns).publish(NOTIFICATION)] == codes
    assert [error.code for error in notifier(sns).publish_never_readable(NEVER_READ)] == codes
    assert len(sns.published) == 2 * (2 - len(refused))


@pytest.mark.parametrize("topic", ["mails", "chat"])
def test_topic_that_is_not_configured_is_left_out(topic: str) -> None:
    sns: Any = Sns()
    mails, chat = Topic(sns, MAILS), Topic(sns, CHAT)
    only = Notifier(mails, None) if topic == "mails" else Notifier(None, chat)
    assert only.publish(NOTIFICATION) == ()
    assert [message["TopicArn"] for message in sns.published] == [
        MAILS if topic == "mails" else CHAT
    ]


def test_topics_of_a_deployment_are_made_in_their_order() -> None:
    mails, none, chat = topics(session(), MAILS, None, CHAT)
    assert mails is not None
    assert none is None
    assert chat is not None
    assert (mails.arn, chat.arn) == (MAILS, CHAT)


def test_message_has_three_attempts_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated message does no harm."""
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)
    (topic,) = topics(session(), MAILS)
    assert topic is not None
    answer = b"<ErrorResponse><Error><Code>InternalError</Code></Error></ErrorResponse>"
    network = Network(*[(503, answer, {})] * 5)
    client: Any = topic._client
    client._endpoint.http_session = network
    with pytest.raises(ServiceError, match=r"SNS\.InternalError"):
        topic.publish("text", subject="subject")
    assert len(network.sent) == 3
    assert client.meta.config.max_pool_connections == 1

"""Tells people of a job by mail and in their chat, each over a topic of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain.notification import chat_message_of, mail_of, subject_of
from bedrock_batch_monitor.services import sns
from bedrock_batch_monitor.services.errors import ServiceError

if TYPE_CHECKING:
    import boto3

    from bedrock_batch_monitor.domain.notification import Notification
    from bedrock_batch_monitor.settings import NotificationSettings


@dataclass(frozen=True, slots=True)
class Notifier:
    """The topics of a deployment; None for one that its settings do without."""

    mails: sns.Topic | None
    chat: sns.Topic | None

    @classmethod
    def connect(cls, session: boto3.Session, settings: NotificationSettings) -> Notifier:
        """The topics that the settings name, over one client; makes no call."""
        client = sns.connect(session)
        mails, chat = (
            None if arn is None else sns.Topic(client, arn)
            for arn in (settings.email_topic_arn, settings.chat_topic_arn)
        )
        return cls(mails=mails, chat=chat)

    def tell(self, notification: Notification) -> tuple[ServiceError, ...]:
        """Publish to every topic, whatever becomes of the others; the errors, none if all is well.

        To repeat it after an error tells those again whom it has reached.
        """
        return tuple(self._failures(notification))

    def _failures(self, notification: Notification) -> Iterator[ServiceError]:
        if self.mails is not None:
            try:
                self.mails.publish(mail_of(notification), subject=subject_of(notification))
            except ServiceError as error:
                yield error
        if self.chat is not None:
            try:
                self.chat.publish(json.dumps(chat_message_of(notification), ensure_ascii=False))
            except ServiceError as error:
                yield error

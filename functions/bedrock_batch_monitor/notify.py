"""Tells people of a job by mail and in their chat, each over a topic of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain.notification import chat_message_of, mail_of, subject_of
from bedrock_batch_monitor.services.errors import ServiceError

if TYPE_CHECKING:
    from bedrock_batch_monitor.domain.notification import Notification
    from bedrock_batch_monitor.services.sns import Topic


@dataclass(frozen=True, slots=True)
class Notifier:
    """The topics of a deployment; None for one that its settings do without."""

    mails: Topic | None
    chat: Topic | None

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

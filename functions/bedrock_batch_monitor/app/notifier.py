"""Notifies people by email and in their chat, with one topic for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.presentation.messages import texts_of, unreadable_texts

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.sns import Topic
    from bedrock_batch_monitor.presentation.messages import Notification, Texts


@dataclass(frozen=True, slots=True)
class Notifier:
    """The topics of a deployment; None for one that is not configured."""

    mails: Topic | None
    chat: Topic | None

    def publish(self, notification: Notification) -> tuple[ServiceError, ...]:
        """Publish one event to every topic; returns the errors of the topics that failed.

        A failure of one topic does not stop the other. A retry after an error also repeats the
        message that was published.
        """
        return tuple(self._failures(texts_of(notification)))

    def publish_never_readable(self, pairs: Sequence[tuple[str, str]]) -> tuple[ServiceError, ...]:
        """Publish one summary of ARNs that were never readable, as (job ARN, error code).

        Publishes nothing for an empty list. Returns the errors of the topics that failed; a failure
        of one topic does not stop the other.
        """
        return tuple(self._failures(unreadable_texts(pairs))) if pairs else ()

    def _failures(self, texts: Texts) -> Iterator[ServiceError]:
        if self.mails is not None:
            try:
                self.mails.publish(texts.mail, subject=texts.subject)
            except ServiceError as error:
                yield error
        if self.chat is not None:
            try:
                self.chat.publish(json.dumps(texts.chat, ensure_ascii=False))
            except ServiceError as error:
                yield error

"""The schema of custom notifications of Amazon Q Developer in chat applications."""

from __future__ import annotations

from typing import Any, Final

import jsonschema

_TEXT: Final = {"type": "string", "minLength": 1}
_TEXTS: Final = {"type": "array", "minItems": 1, "items": _TEXT}

# Written from "Event schema" and "Parameter details" of the administrator guide, page "Custom
# notifications" (docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html): the members,
# their types, and the values of version, source and textType. The lengths of title and description
# are those that users of the service quote.
CUSTOM_NOTIFICATION: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "required": ["version", "source", "content"],
    "additionalProperties": False,
    "properties": {
        "version": {"enum": ["1.0"]},
        "source": {"enum": ["custom"]},
        "id": _TEXT,
        "content": {
            "type": "object",
            "required": ["description"],
            "additionalProperties": False,
            "properties": {
                "textType": {"enum": ["client-markdown"]},
                "title": {**_TEXT, "maxLength": 250},
                "description": {**_TEXT, "maxLength": 8000},
                "nextSteps": _TEXTS,
                "keywords": _TEXTS,
            },
        },
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "threadId": _TEXT,
                "summary": _TEXT,
                "eventType": _TEXT,
                "relatedResources": _TEXTS,
                "additionalContext": {"type": "object", "additionalProperties": _TEXT},
            },
        },
    },
}


def assert_is_custom_notification(message: object) -> None:
    """The message matches the schema; otherwise the service shows nothing."""
    jsonschema.Draft4Validator(CUSTOM_NOTIFICATION).validate(message)

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE, OUTCOMES
from bedrock_batch_monitor.presentation.messages import (
    Fact,
    NotANotificationError,
    Notification,
    chat_message_of,
    is_summarized,
    mail_of,
    notification_of,
    subject_of,
    texts_of,
    unreadable_texts,
)
from tests.support.chat import CUSTOM_NOTIFICATION, assert_is_custom_notification
from tests.support.contracts import FILES, SCHEMAS
from tests.support.hostile import (
    ALL_KEYS,
    BIDIRECTIONAL,
    ESCAPES,
    hostile_characters_in,
)
from tests.support.hostile import texts as hostile_texts
from tests.support.strategies import ARN

SAMPLES = {
    detail_type: json.loads((SCHEMAS / "v1" / "samples" / file).read_text())
    for detail_type, file in FILES.items()
}
# What control characters, bidirectional marks and surrogates there are, and what makes markup.
HOSTILE = hostile_texts | st.text(
    alphabet=st.characters() | st.sampled_from("<>&@[]()`*~!|\r\n\u2028\u202e")
)
ARN_TAIL = ARN.removeprefix("arn:aws")
SNS_BYTES = 256 * 1024
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=5,
)


def event_of(outcome: str, **changes: Any) -> dict[str, Any]:
    """The sample event of an outcome, with other values in `data`; None takes one out."""
    kind = event_kinds.BY_NAME.get(outcome, event_kinds.ENDED)
    event: dict[str, Any] = copy.deepcopy(SAMPLES[kind.detail_type])
    data = event["detail"]["data"]
    if kind is event_kinds.ENDED:
        is_status = outcome in statuses.TERMINAL
        data |= {"status": outcome if is_status else "Completed", "outcome": outcome}
    data.update(changes)
    event["detail"]["data"] = {key: value for key, value in data.items() if value is not None}
    return event


def told(outcome: str, **changes: Any) -> Notification:
    return notification_of(event_of(outcome, **changes))


def facts_of(notification: Notification) -> dict[str, str]:
    return {fact.label: fact.text for fact in notification.facts}


def chat_texts(notification: Notification) -> list[str]:
    """Every text of the message that a chat takes for markdown."""
    message = chat_message_of(notification)
    content = message["content"]
    return [
        content["title"],
        content["description"],
        *content["nextSteps"],
        *content["keywords"],
        message["metadata"]["summary"],
    ]


def test_mail_of_a_failed_job_has_its_facts() -> None:
    """Job, outcome, duration, records, first line of the message, and where the output is."""
    notification = told("Failed", message="Invalid record at line 7.\nSecond line.")

    assert subject_of(notification) == "Bedrock batch job failed: nightly-summaries"
    assert mail_of(notification) == (
        "Batch job nightly-summaries failed.\n"
        "\n"
        "Outcome: Failed\n"
        "Duration: 1 h 02 min, 2 min 00 s in the queue, 1 h 00 min running\n"
        "Records: 998 of 1,000 succeeded, 2 errors (0.2 %)\n"
        "Message: Invalid record at line 7.\n"
        "Output folder: s3://out/results/abcdef123456/\n"
        "Model: anthropic.claude-sonnet-4-20250514-v1:0\n"
        "Ended: 2026-11-24T20:30:16.123Z\n"
        "Tags: team=search\n"
        "Account and Region: 123456789012, us-east-1\n"
        f"Job ARN: {ARN}\n"
        "\n"
        "What to do: Fix the cause that the message names, and submit the job again.\n"
        "Bedrock console: https://console.aws.amazon.com/bedrock/home"
        "?region=us-east-1#/batch-inference\n"
        "\n"
        "Event d663c803-4dfd-5630-9de9-2e8bdc5851e1\n"
    )


def test_chat_message_of_a_failed_job_has_its_facts() -> None:
    """The same in the custom notification schema; a job's messages are one thread."""
    message = chat_message_of(told("Failed", message="Invalid record at line 7.\nSecond line."))

    assert_is_custom_notification(message)
    assert message["id"] == "d663c803-4dfd-5630-9de9-2e8bdc5851e1"
    assert message["content"]["title"] == "\u274c Batch job nightly-summaries failed"
    assert message["content"]["description"].splitlines()[:5] == [
        "*Outcome:* Failed",
        "*Duration:* 1 h 02 min, 2 min 00 s in the queue, 1 h 00 min running",
        "*Records:* 998 of 1,000 succeeded, 2 errors (0.2 %)",
        "*Message:* Invalid record at line 7.",
        "*Output folder:* s3://out/results/abcdef123456/",
    ]
    assert message["content"]["keywords"] == ["Bedrock batch inference", "Failed"]
    assert message["metadata"]["threadId"] == ARN
    assert message["metadata"]["eventType"] == event_kinds.ENDED.detail_type
    assert message["metadata"]["additionalContext"] == {
        "jobArn": ARN,
        "jobName": "nightly-summaries",
        "outcome": "Failed",
        "account": "123456789012",
        "region": "us-east-1",
        "outputS3Uri": "s3://out/results/abcdef123456/",
    }


def test_every_terminal_status_and_condition_is_an_outcome() -> None:
    """Every event except a status change can cause a notification with its own text."""
    assert set(statuses.TERMINAL) < set(OUTCOMES) < set(NOTIFIABLE)
    assert set(NOTIFIABLE) - set(OUTCOMES) == {kind.name for kind in event_kinds.CONDITIONS}
    assert len({words.sentence for words in NOTIFIABLE.values()}) == len(NOTIFIABLE)
    assert len({words.short for words in NOTIFIABLE.values()}) == len(NOTIFIABLE)


@pytest.mark.parametrize("outcome", NOTIFIABLE)
def test_outcome_is_in_subject_mail_and_title(outcome: str) -> None:
    """Each outcome has its own subject, first sentence and title."""
    notification = told(outcome)
    words = NOTIFIABLE[outcome]

    assert notification.outcome == outcome
    assert words.short in subject_of(notification)
    assert mail_of(notification).startswith(f"Batch job nightly-summaries {words.sentence}.\n")
    assert_is_custom_notification(chat_message_of(notification))
    assert words.sentence in chat_message_of(notification)["metadata"]["summary"]


def test_mail_of_an_unreachable_job_has_the_error() -> None:
    """The response of the API, with its code."""
    facts = facts_of(told("Unreachable"))

    assert facts["Error"] == "AccessDeniedException: not authorized to read the job"
    assert facts["Duration"] == "2 min 00 s in the queue"


def test_mail_of_a_stalled_job_has_the_time_without_progress() -> None:
    """And the last record counts."""
    facts = facts_of(told("Stalled"))

    assert facts["Duration"] == "2 min 00 s in the queue, 45 min without progress"
    assert facts["Records"] == "420 of 1,000 succeeded, 0 errors"


def test_mail_of_a_job_at_risk_has_the_estimate() -> None:
    """The estimated end, the expiration, and the difference."""
    facts = facts_of(told("AtRisk"))

    assert facts["Duration"] == (
        "2 min 00 s in the queue, 1 h 10 min past its expiration, at the current rate"
    )
    assert facts["Estimated end"] == "2026-11-25T20:40:16.123Z"
    assert facts["Expiration"] == "2026-11-25T19:30:16.123Z"


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ({"total": 1000, "success": 999, "error": 1}, "999 of 1,000 succeeded, 1 error"),
        ({"total": 1000, "processed": 420}, "420 of 1,000 processed"),
        ({"success": 0, "error": 12_345}, "0 succeeded, 12,345 errors"),
        ({"total": 7}, "7 in the input"),
        ({"error": 2}, "2 errors"),
        ({"error": 2, "errorShare": 0.00001}, "2 errors (below 0.01 %)"),
        ({"error": 2, "errorShare": 1}, "2 errors (100 %)"),
        ({"error": 2, "errorShare": "all"}, "2 errors"),
        ({"error": 0, "errorShare": 0.0}, "0 errors"),
        ({"total": 0, "processed": 0, "success": 0, "error": 0}, None),
        ({"total": 10**38, "success": -1, "error": 10**15}, None),
        ({"total": "7", "success": True, "error": -1, "processed": 1.5}, None),
        ({}, None),
        (None, None),
    ],
)
def test_record_counts_are_shown_in_words(records: Any, text: str | None) -> None:
    """Unknown counts are omitted; they are not zero."""
    assert facts_of(told("Failed", records=records)).get("Records") == text


def test_unknown_facts_are_omitted() -> None:
    """An event with only the required fields makes a notification without blanks."""
    bare = {"jobArn": ARN, "account": "123456789012", "region": "us-east-1", "status": "Expired"}
    notification = notification_of(
        {"detail-type": event_kinds.ENDED.detail_type, "detail": {"metadata": {}, "data": bare}}
    )

    assert facts_of(notification) == {
        "Outcome": "Expired",
        "Account and Region": "123456789012, us-east-1",
    }
    assert subject_of(notification) == "Bedrock batch job expired: abcdef123456"
    assert "None" not in mail_of(notification)
    assert "id" not in chat_message_of(notification)
    assert_is_custom_notification(chat_message_of(notification))


@pytest.mark.parametrize("field", ["jobName", "message", "outputS3Uri", "modelId", "endTime"])
@pytest.mark.parametrize("value", ["", " \n", "\u200b", 7, ["a"], {"a": 1}])
def test_value_that_is_not_visible_text_is_unknown(field: str, value: Any) -> None:
    """A value of another type, or one without a visible character, is the same as an absent one."""
    assert told("Failed", **{field: value}) == told("Failed", **{field: None})


def test_notification_without_a_message_omits_it() -> None:
    """With `recordMessages=false` an event has no message, and neither has its notification."""
    assert "Message" not in facts_of(told("Failed", message=None))


def test_first_line_of_a_message_is_bounded() -> None:
    """A message of thousands of characters does not fill a screen."""
    text = facts_of(told("Failed", message="x" * 2048))["Message"]

    assert text == "x" * 299 + "…"


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("<!channel> wake up", "&lt;!channel&gt; wake up"),
        ("<@U012AB3CD>", "&lt;@\u200bU012AB3CD&gt;"),
        ("@here @channel", "@\u200bhere @\u200bchannel"),
        ("<https://evil.example|the console>", "&lt;https://evil.example|the console&gt;"),
        ("[the console](https://evil.example)", "[the console]\u200b(https://evil.example)"),
        ("<at>Team</at>", "&lt;at&gt;Team&lt;/at&gt;"),
        ("*bold* ~gone~ `code`", "\u2217bold\u2217 \u223cgone\u223c 'code'"),
        ("&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;"),
        ("a\r\n> quote", "a"),
        ("a\u2028*Records:* all well", "a"),
        ("a\u202eb\x1b[31m", "ab[31m"),
    ],
)
def test_message_has_no_effect_as_markup_in_a_chat(hostile: str, harmless: str) -> None:
    """A text from outside mentions nobody, hides no link, and adds no line."""
    description = chat_message_of(told("Failed", message=hostile))["content"]["description"]

    assert f"\n*Message:* {harmless}\n*Output folder:*" in description


def test_job_name_adds_no_line_to_a_mail() -> None:
    """A forged name can neither add headers to an email nor lines to its text."""
    notification = told("Failed", jobName="job\r\nBcc: all@example.com\n\nWhat to do: pay")

    assert subject_of(notification).count("\n") == 0
    assert len(mail_of(notification).splitlines()) == len(mail_of(told("Failed")).splitlines())


def test_location_that_is_too_long_is_omitted() -> None:
    """A fact that does not fit into the chat message is omitted, and the following ones are not."""
    long = "s3://b/" + "&" * 1090
    notification = told("Failed", outputS3Uri=long, message="&" * 300, modelId="&" * 300)
    message = chat_message_of(notification)

    assert_is_custom_notification(message)
    assert message["content"]["description"].endswith(
        "*Account and Region:* 123456789012, us-east-1"
    )
    assert f"Output folder: {long}" in mail_of(notification)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"detail-type": event_kinds.STATUS_CHANGED.detail_type}, "no notification"),
        ({"detail-type": None}, "no notification"),
        ({"detail": None}, "no notification"),
        ({"detail": {"data": {"status": "Paused", "jobArn": ARN}}}, "no notification"),
        ({"detail": {"data": {"status": ["Failed"], "jobArn": ARN}}}, "no notification"),
        ({"detail": {"data": {"status": "Failed"}}}, "jobArn"),
        ({"detail": {"data": {"status": "Failed", "jobArn": 7}}}, "jobArn"),
        ({"detail": {"data": {"status": "Failed", "jobArn": "arn:aws:s3:::secret"}}}, "jobArn"),
        *(
            (
                {"detail": {"data": {"status": "Failed", "jobArn": f"arn:aws-{text}{ARN_TAIL}"}}},
                "jobArn",
            )
            for text in (
                "secret",
                f"x\n\nACTION REQUIRED  sign in at www.example.com/secret\n<!channel>{ESCAPES}",
                "A" * 200_000,
            )
        ),
    ],
)
def test_event_without_a_notification_is_refused(change: dict[str, Any], words: str) -> None:
    """The error quotes nothing of the event."""
    with pytest.raises(NotANotificationError, match=words) as caught:
        notification_of({**SAMPLES[event_kinds.ENDED.detail_type], **change})

    assert "secret" not in str(caught.value)


def test_console_link_leads_to_the_console_of_the_partition() -> None:
    """Each partition has a console of its own."""
    text = mail_of(told("Failed", jobArn=ARN.replace("arn:aws:", "arn:aws-us-gov:")))

    assert "https://console.amazonaws-us-gov.com/bedrock/home?region=us-east-1" in text


def test_partition_without_a_public_console_has_no_link() -> None:
    """No link is better than a wrong one."""
    notification = told("Failed", jobArn=ARN.replace("arn:aws:", "arn:aws-iso:"))

    assert "console" not in mail_of(notification)
    assert chat_message_of(notification)["content"]["nextSteps"] == [OUTCOMES["Failed"].advice]


@given(JSON)
def test_any_other_input_is_refused(event: object) -> None:
    """Any input makes a notification, or an error that gives the reason."""
    with pytest.raises(NotANotificationError):
        notification_of(event)


def assert_can_be_sent(subject: str, mail: str, message: dict[str, Any]) -> None:
    """The limits of emails and chat messages, and nothing in them that a text of a job decides."""
    assert re.fullmatch(r"[!-~]([ -~]{0,97}[!-~])?", subject)
    assert_is_custom_notification(message)
    published = json.dumps(message, ensure_ascii=False)
    assert len(published.encode()) < SNS_BYTES
    assert len(mail.encode()) < SNS_BYTES
    assert hostile_characters_in(mail, allowed="\n") == set()
    # The one character without width is what keeps '@' and ']' from being markup.
    for text in strings_in(message):
        assert hostile_characters_in(text, allowed="\n\u200b") == set()
    for text in strings_in(message["metadata"]):
        assert "\n" not in text
        assert len(text) <= 1024


def strings_in(value: Any) -> list[str]:
    """Every text in a JSON document."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings_in(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings_in(inner)]
    return [value]


@given(
    st.sampled_from(list(NOTIFIABLE)),
    st.dictionaries(
        st.sampled_from(
            [
                "jobName",
                "modelId",
                "message",
                "endTime",
                "estimatedEndTime",
                "jobExpirationTime",
                "outputS3Uri",
                "error",
                "durations",
                "records",
            ]
        ),
        HOSTILE
        | JSON
        | st.dictionaries(
            st.sampled_from(["code", "message", "total", "success", "error", "totalSeconds"]),
            HOSTILE | st.integers() | st.sampled_from([10**38, -1, 10**15, 10**15 - 1, 0]),
        ),
    ),
    HOSTILE | JSON,
)
def test_any_event_makes_a_message_within_the_limits(
    outcome: str, changes: dict[str, Any], event_id: object
) -> None:
    """Subject, email and chat message keep their limits and lines, whatever texts an event has."""
    event = event_of(outcome, **changes)
    event["detail"]["metadata"]["eventId"] = event_id
    notification = notification_of(event)
    subject = subject_of(notification)
    message = chat_message_of(notification)

    assert_can_be_sent(subject, mail_of(notification), message)
    assert texts_of(notification).chat == message
    labels = [line.partition(":* ")[0] for line in message["content"]["description"].split("\n")]
    assert labels == [f"*{fact.label}" for fact in notification.facts]
    for text in chat_texts(notification):
        own = re.sub(r"^\*[\w ]+:\* ", "", text, flags=re.MULTILINE)
        assert_no_markup(own)


def assert_no_markup(text: str) -> None:
    """Neither links nor mentions, in Slack and in Teams."""
    assert not re.search(r"[<>`*~]|&(?!amp;|lt;|gt;)|@(?!\u200b)|\](?!\u200b)", text)


@pytest.mark.parametrize("text", [ESCAPES, BIDIRECTIONAL, ALL_KEYS, "\u202e" * 100_000])
def test_hostile_text_is_cleaned_in_every_field(text: str) -> None:
    """The name is in the subject, the email, the title, the summary and the context of actions."""
    changes = dict.fromkeys(("jobName", "modelId", "message", "outputS3Uri"), text + " harmless")
    notification = told("Failed", **changes)
    assert_can_be_sent(
        subject_of(notification), mail_of(notification), chat_message_of(notification)
    )


def test_message_begins_with_the_first_visible_line() -> None:
    """Lines that are empty or have no visible character are skipped."""
    text = "\n \u200b\n\x1b\n Invalid record.\nSecond line."
    assert facts_of(told("Failed", message=text))["Message"] == "Invalid record."


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"status": None}, True),
        ({"status": ""}, True),
        ({"status": 7}, True),
    ],
)
def test_event_of_an_arn_that_was_never_readable_is_summarized(
    *, change: dict[str, Any], expected: bool
) -> None:
    """Without a status the job was never read; these jobs share one summary."""
    event = event_of("Unreachable")
    event["detail"]["data"].update(change)
    assert is_summarized(event) is expected


@pytest.mark.parametrize("outcome", sorted(set(NOTIFIABLE) - {"Unreachable"}))
def test_other_events_are_never_summarized(outcome: str) -> None:
    """An end has its own email, whatever is missing in it."""
    assert not is_summarized(event_of(outcome, status=None))


def test_summary_names_the_arns_that_were_never_readable() -> None:
    """One email and one message contain the ARNs, the reasons, and what to do."""
    other = ARN[:-1] + "0"
    texts = unreadable_texts(
        [(ARN, "AccessDeniedException"), (other, "ResourceNotFoundException"), ("mine", "x")]
    )

    said = "3 tracked job ARNs could never be read"
    assert texts.subject == f"Bedrock batch monitor: {said}"
    assert texts.mail == (
        f"{said}.\n"
        "\n"
        f"{ARN}: AccessDeniedException\n"
        f"{other}: ResourceNotFoundException\n"
        "mine: x\n"
        "\n"
        "What to do: Check the ARN, its account and Region, and the permissions of the monitor's "
        "role. To stop tracking a job, run: bbm untrack <ARN>.\n"
        "The monitor untracks an ARN that was never readable after seven days.\n"
    )
    assert texts.chat["content"]["title"] == f"\u2753 {said}"
    assert texts.chat["content"]["description"].splitlines() == texts.mail.splitlines()[2:5]
    assert texts.chat["metadata"]["relatedResources"] == [ARN, other]
    assert texts.chat["metadata"]["eventType"] == event_kinds.UNREACHABLE.detail_type


def test_summary_of_one_arn_is_in_the_singular() -> None:
    """The sentence is correct for one ARN as well."""
    assert unreadable_texts([(ARN, "x")]).mail.startswith("1 tracked job ARN could never be read")


def test_summary_shows_twenty_arns_and_counts_the_others() -> None:
    """A thousand ARNs are one email of a few lines."""
    pairs = [(f"{ARN[:-4]}{number:04}", "AccessDeniedException") for number in range(1234)]
    exactly, more = unreadable_texts(pairs[:20]), unreadable_texts(pairs)

    assert "more" not in exactly.mail.partition("What to do")[0]
    assert more.mail.count(ARN[:-4]) == 20
    assert "\nand 1,214 more\n" in more.mail
    assert more.chat["content"]["description"].splitlines()[-1] == "and 1,214 more"
    assert more.subject == ("Bedrock batch monitor: 1,234 tracked job ARNs could never be read")
    assert "\nand 1 more\n" in unreadable_texts(pairs[:21]).mail


def test_summary_without_arns_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one ARN"):
        unreadable_texts([])


@given(st.lists(st.tuples(HOSTILE | st.just(ARN), HOSTILE), min_size=1, max_size=40))
def test_hostile_arn_makes_a_valid_summary(pairs: list[tuple[str, str]]) -> None:
    """A text that was put into the table in place of an ARN adds no line and no markup."""
    texts = unreadable_texts(pairs)

    assert_can_be_sent(texts.subject, texts.mail, dict(texts.chat))
    shown = min(len(pairs), 20)
    assert len(texts.mail.splitlines()) == 5 + shown + (len(pairs) > 20)
    described = texts.chat["content"]["description"].splitlines()
    assert len(described) <= shown + 1
    assert_no_markup(texts.chat["content"]["description"])
    if len(described) < len(pairs):
        assert described[-1] == f"and {len(pairs) - len(described) + 1:,} more"


def test_schema_of_chat_messages_refuses_invalid_messages() -> None:
    """It refuses messages that Amazon Q would not show."""
    jsonschema.Draft4Validator.check_schema(CUSTOM_NOTIFICATION)
    good = chat_message_of(told("Failed"))
    for bad in (
        {**good, "version": 1.0},
        {**good, "source": "bedrock-batch-monitor"},
        {**good, "content": {**good["content"], "nextSteps": "one"}},
        {**good, "content": {**good["content"], "title": "x" * 251}},
        {**good, "metadata": {**good["metadata"], "additionalContext": {"a": 1}}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            assert_is_custom_notification(bad)


def analyzed(**changes: Any) -> Notification:
    """The notification of the sample event about the errors of a job."""
    event = copy.deepcopy(SAMPLES[event_kinds.ERRORS_ANALYZED.detail_type])
    event["detail"]["data"] |= changes
    return notification_of(event)


def test_top_reason_of_record_errors_is_shown() -> None:
    """The event about the errors of records contains the most frequent reason."""
    notification = analyzed()
    facts = facts_of(notification)
    assert facts["Top reason"] == "429: Too many requests, please wait <n> s. (1 record)"
    assert facts["Retry file"] == "s3://retries/batch/abcdef123456/retry.jsonl"
    texts = texts_of(notification)
    assert texts.subject == "Bedrock batch job, why records failed: nightly-summaries"
    assert "Top reason: 429: Too many" in texts.mail
    assert "&lt;n&gt;" in texts.chat["content"]["description"]


def test_top_reason_without_message_is_the_code() -> None:
    """With `recordMessages=false`, groups have no pattern."""
    assert facts_of(analyzed(errorGroups=[{"errorCode": 400, "count": 7}]))["Top reason"] == (
        "400 (7 records)"
    )


@given(groups=JSON)
def test_top_reason_of_any_value_is_one_bounded_line(groups: Any) -> None:
    """Anyone who may put events on the bus can forge one."""
    for value in (groups, [groups], [{"count": 5, "errorCode": groups, "pattern": groups}]):
        reason = facts_of(analyzed(errorGroups=value)).get("Top reason", "")
        assert len(reason) < 400
        assert "\n" not in reason


def test_end_notification_has_no_reason_of_record_errors() -> None:
    """The event of the end does not wait for the analysis."""
    assert "Top reason" not in facts_of(told("CompletedWithErrors"))


def test_subject_keeps_every_printable_character_of_ascii() -> None:
    """From the blank to the tilde; what follows is a question mark."""
    assert subject_of(told("Failed", jobName="a ~!b\u00e4")).endswith(": a ~!b?")


def test_description_holds_the_facts_that_fit() -> None:
    """The most important first; a shorter one can still fit after one that does not."""

    def shown(*lengths: int) -> list[int]:
        facts = tuple(Fact("A", "x" * (length - len("*A:* "))) for length in lengths)
        text = chat_message_of(replace(told("Failed"), facts=facts))["content"]["description"]
        assert len(text) < 8000
        return [len(line) for line in text.splitlines()]

    assert shown(4000, 3998) == [4000, 3998]
    assert shown(4000, 3999) == [4000]
    assert shown(4000, 2000, 1997) == [4000, 2000, 1997]
    assert shown(4000, 2000, 1998, 20) == [4000, 2000, 20]


@pytest.mark.parametrize(("last", "more"), [(394, ""), (395, "and 1 more")])
def test_summary_holds_the_arns_that_fit_into_a_chat(last: int, more: str) -> None:
    """Escaped, twenty odd ARNs can be longer than a message may be."""

    def pair(length: int) -> tuple[str, str]:
        arn = "&" * 70
        return arn + "x" * (length - len(arn) * len("&amp;") - len(": CC")), "CC"

    texts = unreadable_texts([*[pair(394)] * 19, pair(last)])
    lines = texts.chat["content"]["description"].splitlines()
    assert [len(line) for line in lines[:19]] == [394] * 19
    assert lines[19:] == [more] if more else len(lines) == 20
    assert texts.mail.count("&" * 70) == 20


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("&" * 24 + "x" * 4, "&amp;" * 24 + "x" * 4),
        ("&" * 24 + "x" * 5, "&amp;" * 24 + "x" * 4 + "…"),
        ("&" * 25, "&amp;" * 24 + "…"),
    ],
)
def test_escaped_name_is_cut_between_two_characters(name: str, title: str) -> None:
    """Half of the title is for the name; no escape is cut in two."""
    summary = chat_message_of(told("Failed", jobName=name))["metadata"]["summary"]
    assert summary == f"Batch job {title} failed"


@pytest.mark.parametrize(
    ("risk", "text"),
    [
        ({"reason": "deadline", "at": "2026-11-25T00:00:00Z"}, "deadline, 2026-11-25T00:00:00Z"),
        ({"reason": "deadline"}, None),
        ({"at": "2026-11-25T00:00:00Z"}, None),
        (7, None),
    ],
)
def test_risk_is_shown_with_its_limit(risk: Any, text: str | None) -> None:
    """Both or nothing."""
    assert facts_of(told("AtRisk", risk=risk)).get("At risk") == text


@pytest.mark.parametrize("groups", [{"0": {"count": 1}}, [], "text", [7], None])
def test_groups_of_errors_of_another_type_are_no_reason(groups: Any) -> None:
    assert "Top reason" not in facts_of(told("Failed", errorGroups=groups))


@pytest.mark.parametrize(
    ("share", "text"), [(1, "2 errors (100 %)"), (1.5, "2 errors"), (-0.5, "2 errors")]
)
def test_share_is_shown_from_0_to_1(share: float, text: str) -> None:
    """Any other number is unknown."""
    records = {"error": 2, "errorShare": share}
    assert facts_of(told("Failed", records=records))["Records"] == text


def of_event(outcome: str, path: str, label: str) -> Callable[[str], str]:
    """How a notification shows a text at a path of its event, by the label of the fact."""

    def shown(text: str) -> str:
        event = event_of(outcome)
        *folders, name = path.split(".")
        inner = event["detail"]
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = text
        return facts_of(notification_of(event))[label]

    return shown


def in_actions(text: str) -> str:
    context = chat_message_of(told("Failed", outputS3Uri=text))["metadata"]["additionalContext"]
    return str(context["outputS3Uri"])


def in_mail(text: str) -> str:
    """The end of the mail has the id of the event."""
    event = event_of("Failed")
    event["detail"]["metadata"]["eventId"] = text
    return mail_of(notification_of(event)).splitlines()[-1].removeprefix("Event ")


def in_summary(text: str, code: str = "c") -> tuple[str, str]:
    """ARN and code of a summary of ARNs."""
    arn, _, shown = unreadable_texts([(text, code)]).mail.splitlines()[2].partition(": ")
    return arn, shown


@pytest.mark.parametrize(
    ("characters", "shown"),
    [
        (100, lambda text: told("Failed", jobName=text).job),
        (100, in_mail),
        (100, of_event("Failed", "data.endTime", "Ended")),
        (100, of_event("AtRisk", "data.estimatedEndTime", "Estimated end")),
        (100, of_event("AtRisk", "data.jobExpirationTime", "Expiration")),
        (100, of_event("DeadlineMissed", "data.deadline", "Deadline")),
        (300, of_event("Failed", "data.message", "Message")),
        (300, of_event("Failed", "data.modelId", "Model")),
        (1100, of_event("Failed", "data.outputS3Uri", "Output folder")),
        (1100, of_event("Failed", "data.errorAnalysis.retryFile.s3Uri", "Retry file")),
        (1024, in_actions),
        (120, lambda text: in_summary(text)[0]),
        (100, lambda text: in_summary(ARN, text)[1]),
    ],
    ids=[
        *("name", "event", "end", "estimate", "expiration", "deadline", "message", "model"),
        *("output", "retry file", "action", "ARN", "code"),
    ],
)
def test_text_of_a_notification_is_whole_up_to_its_room(
    characters: int, shown: Callable[[str], str]
) -> None:
    """A longer one is cut: an email is read on a phone, and a custom action refuses longer ones."""
    assert shown("x" * characters) == "x" * characters
    assert shown("x" * (characters + 1)) == "x" * (characters - 1) + "\u2026"


def test_top_reason_has_room_for_a_code_and_a_pattern() -> None:
    """40 characters and 300."""

    def reason(code: int, pattern: int) -> str:
        group = {"count": 2, "errorCode": "c" * code, "pattern": "p" * pattern}
        return facts_of(analyzed(errorGroups=[group]))["Top reason"]

    assert reason(40, 300) == f"{'c' * 40}: {'p' * 300} (2 records)"
    assert reason(41, 301) == f"{'c' * 39}\u2026: {'p' * 299}\u2026 (2 records)"


def test_tags_of_a_notification_have_one_line_of_600_characters() -> None:
    """Each tag can have 384 of them."""

    def shown(characters: int) -> str:
        tags = {"a": "x" * 256, "b": "y" * 256, "c": "z" * characters}
        return facts_of(told("Failed", tags=tags))["Tags"]

    whole = f"a={'x' * 256}, b={'y' * 256}, c={'z' * 78}"
    assert shown(78) == whole
    assert len(whole) == 600
    assert shown(79) == whole[:-1] + "\u2026"


def test_subject_has_at_most_99_characters() -> None:
    """SNS accepts fewer than 100."""
    start = "Bedrock batch job failed: "
    name = "x" * (99 - len(start))
    assert subject_of(told("Failed", jobName=name)) == start + name
    assert subject_of(told("Failed", jobName=name + "y")) == start + name

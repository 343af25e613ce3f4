"""`python -m tests.docs.generate`: writes the parts of the documentation that code knows best."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Run as a program it has to find the function's code, as `app.py` has.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "functions"))

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.declarations import Setting, all_settings
from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.events import SCHEMA_VERSION
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
from bedrock_batch_monitor.presentation.messages import (
    Notification,
    chat_message_of,
    mail_of,
    notification_of,
)
from bedrock_batch_monitor_cdk.alarms import ALARMS
from tests.docs import cost, schemas
from tests.docs.pages import ROOT
from tests.support.contracts import FILES, SCHEMAS, schema_of
from tests.support.tables import create_tables


def event_fields() -> str:
    """Every field of every detail-type, in the order of the schemas.

    An event about a model has some fields of the events about jobs, which the page says elsewhere.
    """
    of_jobs = {kind.detail_type for kind in event_kinds.KINDS if kind.is_about_job}
    fields: dict[str, tuple[str, Mapping[str, Any], bool]] = {}
    carried: dict[str, list[str]] = {}
    for detail_type in FILES:
        detail = schema_of(detail_type)["properties"]["detail"]
        for path, schema, always in _fields(detail):
            if path in fields and detail_type not in of_jobs:
                continue
            if path in fields:
                _, known, known_always = fields[path]
                fields[path] = (path, known, known_always and always)
            else:
                fields[path] = (path, schema, always)
            carried.setdefault(path, []).append(detail_type)
    lines = ["| Field of `detail` | Type | What it holds |", "|---|---|---|"]
    for path, schema, always in fields.values():
        words = [schema["description"]]
        if always and set(carried[path]) == of_jobs:
            words.append("Always.")
        if set(carried[path]) != of_jobs:
            words.append(_present_in(carried[path], of_jobs))
        lines.append(f"| `{path}` | {schema['type']} | {' '.join(words)} |")
    return "\n".join(lines) + "\n"


def _present_in(detail_types: Sequence[str], all_types: Collection[str]) -> str:
    """In which events a field can be, or in which it cannot, whichever list is shorter."""
    others = [name for name in all_types if name not in detail_types]
    if len(others) < len(detail_types):
        return "Not in " + ", ".join(f"`{name}`" for name in sorted(others)) + "."
    return "Only in " + ", ".join(f"`{name}`" for name in detail_types) + "."


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
    required = schema.get("required", ())
    for name, inner in schema["properties"].items():
        path = f"{prefix}{name}"
        if "properties" in inner:
            yield from _fields(inner, f"{path}.")
        else:
            yield path, inner, name in required


def settings() -> str:
    """Every setting, with its default, what it allows and what it does."""
    lines = ["| Setting | Default | Allowed | What it does |", "|---|---|---|---|"]
    lines += [
        f"| `{setting.key}` | {_default(setting)} | {setting.kind.allowed} "
        f"| {setting.description} |"
        for setting in all_settings()
    ]
    return "\n".join(lines) + "\n"


def _default(setting: Setting) -> str:
    if setting.default is None:
        return setting.unset
    text = setting.default if isinstance(setting.default, str) else json.dumps(setting.default)
    return f"`{text}`"


def alarms() -> str:
    """Every alarm, with what it looks at and what it means."""
    lines = ["| Alarm | On the metric | What it means |", "|---|---|---|"]
    lines += [
        f"| [{name}](#{name.lower()}) | {alarm.metric} | {alarm.meaning} |"
        for name, alarm in ALARMS.items()
    ]
    return "\n".join(lines) + "\n"


def indexes() -> str:
    """A command for each index of the tables, which creates it as the stack does."""
    tables: list[dict[str, Any]] = []

    class Recorder:
        """Takes the tables as DynamoDB's client does."""

        def create_table(self, **table: Any) -> None:
            """Keep the table."""
            tables.append(table)

    create_tables(Recorder())
    return "\n".join(
        f"```bash\n{_create_index(table, index)}\n```\n"
        for table in tables
        for index in table.get("GlobalSecondaryIndexes", ())
    )


def _create_index(table: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    wanted = {key["AttributeName"] for key in index["KeySchema"]}
    types = [each for each in table["AttributeDefinitions"] if each["AttributeName"] in wanted]
    names = ("IndexName", "KeySchema", "Projection")
    change = [{"Create": {name: index[name] for name in names}}]
    variable = "HISTORY_TABLE" if index["IndexName"] == contract.BY_STATUS_INDEX else "JOBS_TABLE"
    return (
        f'aws dynamodb update-table --table-name "${variable}" \\\n'
        f"  --attribute-definitions '{json.dumps(types)}' \\\n"
        f"  --global-secondary-index-updates '{json.dumps(change)}'"
    )


def mail_sample() -> str:
    """An email, as a block of sample output."""
    return f"<!-- sample output -->\n```text\n{mail_of(_failed())}```\n"


def chat_sample() -> str:
    """A message for a chat, as a block of sample output."""
    message = json.dumps(chat_message_of(_failed()), ensure_ascii=False, indent=2)
    return f"<!-- sample output -->\n```json\n{message}\n```\n"


def _failed() -> Notification:
    event = json.loads(
        (SCHEMAS / "v1" / "samples" / FILES[event_kinds.ENDED.detail_type]).read_text()
    )
    event["detail"]["data"] |= {"status": "Failed", "message": "Too many records failed."}
    return notification_of(event)


def events() -> str:
    """Every kind of event, and when it is sent."""
    lines = ["| `detail-type` | When |", "|---|---|"]
    lines += [
        f"| [`{kind.detail_type}`](../schemas/v{SCHEMA_VERSION}/{FILES[kind.detail_type]}) "
        f"| {kind.when_sent} |"
        for kind in event_kinds.KINDS
    ]
    return "\n".join(lines) + "\n"


def samples() -> str:
    """A sample of each kind of event."""
    return "\n".join(
        f"### {kind.detail_type.removeprefix('Batch Inference ').removeprefix('Job ')}\n\n"
        f"{kind.description}\n\n"
        f"<!-- sample event: {FILES[kind.detail_type]} -->\n```json\n"
        f"{_published('samples', kind)}```\n"
        for kind in event_kinds.KINDS
    )


def outcomes() -> str:
    """What people can be notified of."""
    lines = ["| Outcome | The job | By default |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {words.sentence} | {'no' if name == statuses.COMPLETED else 'yes'} |"
        for name, words in NOTIFIABLE.items()
    ]
    return "\n".join(lines) + "\n"


def _published(folder: str, kind: event_kinds.EventKind) -> str:
    return (SCHEMAS / f"v{SCHEMA_VERSION}" / folder / FILES[kind.detail_type]).read_text()


REGIONS = {
    ("docs/settings.md", "generated: settings"): settings,
    ("README.md", "cost"): cost.sentence,
    ("docs/events.md", "generated: events"): events,
    ("docs/events.md", "generated: event fields"): event_fields,
    ("docs/events.md", "generated: samples"): samples,
    ("docs/notifications.md", "generated: outcomes"): outcomes,
    ("docs/cost.md", "generated: cost"): cost.table,
    ("docs/cost.md", "generated: count writes"): cost.count_writes,
    ("docs/cost.md", "generated: prices"): cost.prices,
    ("docs/command-line.md", "generated: bbm cost"): cost.sample,
    ("docs/operating.md", "generated: alarms"): alarms,
    ("docs/operating.md", "generated: indexes"): indexes,
    ("docs/accounts-and-regions.md", "cost of a scope"): cost.scope_sentence,
    ("docs/notifications.md", "generated: mail"): mail_sample,
    ("docs/notifications.md", "generated: chat message"): chat_sample,
}


def main() -> None:
    schemas.write()
    for (name, mark), render in REGIONS.items():
        page = ROOT / name
        text = page.read_text()
        before, begin, rest = text.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end of ")
        page.write_text(before + begin + render() + end + after)


if __name__ == "__main__":
    main()

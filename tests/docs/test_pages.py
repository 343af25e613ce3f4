"""Names, numbers and files on the pages agree with the code."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from unittest.mock import Mock
from urllib.parse import unquote

import pytest

from bbm.cost import ALARMS as ALARMS_BY_DEFAULT
from bbm.cost import CALLS, LOG_BYTES
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters import errors
from bedrock_batch_monitor.adapters.dynamodb import attributes, items
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.app.telemetry import logger
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import HistoryEntry, RecordCounts, Usage
from bedrock_batch_monitor.domain.summary import (
    ERRORS,
    HEARTBEAT,
    METRICS,
    PUBLISHED_FROM_SECONDS,
    REFUSED,
    THROTTLED,
    PollSummary,
)
from bedrock_batch_monitor.domain.tasks import WaitingTask
from bedrock_batch_monitor.domain.token_usage import OWN_CODES
from bedrock_batch_monitor_cdk.alarms import ALARMS
from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.cli.documentation import commands
from tests.component.conftest import START, Cloud
from tests.component.test_handler import deployed, invoke
from tests.docs import cost
from tests.docs.generate import REGIONS
from tests.docs.pages import (
    PAGES,
    ROOT,
    blocks,
    code,
    name_of,
    read,
    region,
    rows,
    section,
    without_blocks,
)
from tests.infra.conftest import EVERYWHERE, Template, cdk_json, make_app, synthesize, template
from tests.support.contracts import FILES

__all__ = ["cdk_json", "deployed", "make_app", "synthesize", "template"]

PAGE_NAMES = [name_of(page) for page in PAGES]
# The pages explain these one by one; `lastError` can have any other code of a refusal, too.
COMMON_REFUSALS = {"ResourceNotFoundException", "AccessDeniedException", "ValidationException"}
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_blocks(read(name)), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize(("page", "mark"), REGIONS)
def test_generated_parts_are_current(page: str, mark: str) -> None:
    """`python -m tests.docs.generate` would not change the pages."""
    assert region(read(page), mark) == REGIONS[page, mark]()


@pytest.mark.parametrize("page", [*PAGE_NAMES, "SECURITY.md"])
def test_links_lead_to_existing_files_and_headings(page: str) -> None:
    for match in LINK.finditer(without_blocks(read(page))):
        target, _, anchor = unquote(match["target"]).partition("#")
        if "://" in target:
            continue
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), match[0]
        assert not anchor or anchor in anchors(path.relative_to(ROOT).as_posix()), match[0]


def test_doctor_links_to_existing_sections_of_the_runbook() -> None:
    """A finding of `bbm doctor` names the section that says what to do."""
    sections = {
        section
        for path in (ROOT / "cli/bbm/doctor").glob("*.py")
        for section in re.findall(r'section="([^"]*)"', path.read_text())
    }
    assert len(sections) > 10
    assert sections <= anchors("docs/operating.md")


def test_every_page_is_reachable_from_the_readme() -> None:
    """No page is an orphan."""
    linked = {match["target"].partition("#")[0] for match in LINK.finditer(read("README.md"))}

    expected = {name for name in PAGE_NAMES if name.startswith("docs/")} | {"examples/README.md"}
    assert expected <= linked


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_make_targets_on_pages_exist(page: str) -> None:
    """Every `make <target>` is in the Makefile."""
    text = read(page)
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    mentioned = set(re.findall(r"`make ([a-z]+)", text)) | set(
        re.findall(r"^make ([a-z]+)", text, re.MULTILINE)
    )

    assert mentioned <= targets


@pytest.mark.parametrize("page", PAGE_NAMES)
def test_settings_on_pages_exist(page: str) -> None:
    """Every setting of a `-c` option is one of the app's."""
    settings = {
        code(cells[0])[0] for cells in rows(region(read("docs/settings.md"), "generated: settings"))
    }

    # What an example's own app takes from the context.
    if page.startswith("examples/"):
        settings |= {"monitorAccount", "consumerAccount", "batchRoleArn", "modelId", "teams"}
        settings |= {"jobsTableName"}
    assert set(re.findall(r"-c (\w+)=", read(page))) <= settings


def test_stack_outputs_on_pages_exist(synthesize: Callable[[MonitorConfig], Template]) -> None:
    """In the stack with every setting."""
    outputs = set(synthesize(EVERYWHERE)["Outputs"])
    text = "\n".join(map(read, PAGE_NAMES))
    mentioned = set(re.findall(r"output `(\w+)`|\(output (\w+)\)", text))

    assert {first or second for first, second in mentioned} <= outputs
    assert len(mentioned) >= len(outputs) - 1


def test_readme_has_every_terminal_status() -> None:
    """The table has no other."""
    table = rows(read("README.md").partition("## Try it")[0])

    assert sorted(code(cells[0])[0] for cells in table) == sorted(statuses.TERMINAL)


def test_page_describes_the_attributes_of_jobs() -> None:
    """Every attribute of a job's item and no other."""
    described = [
        name
        for cells in rows(section("docs/tables.md", "## Jobs table"))
        for name in code(cells[0])
    ]

    assert sorted(described) == sorted(attributes.names_of(attributes.JOB_ATTRIBUTES))


def test_page_describes_the_attributes_of_history_items() -> None:
    """Every attribute and no other."""
    known = {
        field.name: "text" for field in fields(HistoryEntry) if field.type in {"str", "str | None"}
    }
    entry = HistoryEntry(
        **known,
        sequence=2,
        observed_at=START,
        changed_at=START,
        seconds_in_previous_status=1,
        counts=RecordCounts(1, 1, 1, 0),
        usage=Usage(1, 1, Decimal("0.1")),
        backfilled=True,
        error_share=0.5,
    )
    described = [
        name
        for cells in rows(section("docs/tables.md", "## History table"))
        for name in code(cells[0])
    ]

    assert sorted(described) == sorted(items.history_item(entry, START))
    # The entry of an end has what a lost item is restored from, in addition.
    of_an_end = set(code(region(read("docs/tables.md"), "of an end")))
    assert of_an_end == {*attributes.OBSERVED, "firstInProgressAt"} - set(described)


def test_page_describes_the_attributes_of_outbox_items() -> None:
    """Every attribute and no other."""
    client = Mock()
    table = OutboxTable(client, "outbox")
    now = datetime(2026, 11, 24, tzinfo=UTC)
    table.put_task("arn", WaitingTask("token"), now)
    task = client.put_item.call_args.kwargs["Item"]
    event = table.event_put("arn", "Stalled#1", now)["Item"]
    described = [
        name
        for cells in rows(section("docs/tables.md", "## Outbox table"))
        for name in code(cells[0])
    ]

    assert sorted(described) == sorted({*task, *event})


def test_page_describes_the_indexes() -> None:
    """Each with its key, and the attributes of `by-status`."""
    page = read("docs/tables.md")
    table = rows(page.partition("## Track")[0])

    assert [code(cells[2]) for cells in table] == [
        [
            *(contract.ACTIVE_JOBS_INDEX, contract.TRACKING, "jobArn"),
            *(contract.PENDING_EVENTS_INDEX, contract.EVENT_PENDING, contract.PENDING_SINCE),
            *(contract.USAGE_PENDING_INDEX, contract.USAGE_PENDING, contract.USAGE_DUE_AT),
        ],
        [contract.BY_STATUS_INDEX, "status", "observedAt"],
        [],
        [],
    ]
    # The order of a projection means nothing.
    assert sorted(code(region(page, "by-status"))) == sorted(attributes.BY_STATUS_PROJECTION)

    described = [
        name
        for cells in rows(section("docs/tables.md", "## State table"))
        for name in code(cells[0])
    ]
    stored = (
        *attributes.STATE_ATTRIBUTES,
        *attributes.BOOKMARK_ATTRIBUTES,
        *attributes.LIST_POSITION_ATTRIBUTES,
    )
    assert sorted(described) == sorted(
        (contract.STATE_KEY, *attributes.names_of(stored), *attributes.OF_SLOTS)
    )


ADAPTERS = "functions/bedrock_batch_monitor/adapters"


def calls_in_function() -> Iterator[ast.Call]:
    """Every call in the function's code."""
    for path in (ROOT / "functions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield node


def test_page_explains_the_error_codes_of_items() -> None:
    """Every code that `lastError` can have."""
    own = {
        argument.value
        for call in calls_in_function()
        if isinstance(call.func, ast.Name) and call.func.id == "JobError"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    table = rows(section("docs/tables.md", "## When a job cannot be read"))

    refused = errors.ROLE_REFUSED.partition(".")[2]
    assert {code(cells[0])[0] for cells in table} == own | COMMON_REFUSALS | {refused}


def test_page_explains_the_reasons_for_unknown_tokens() -> None:
    """Every code of the monitor's own that `usageError` can have."""
    table = rows(section("docs/usage.md", "## When the manifest is not there"))
    of_s3 = {"AccessDenied", "NoSuchKey"}

    assert {code(cells[0])[0] for cells in table} == {*OWN_CODES, *of_s3}


def test_page_explains_each_number_of_a_poll_and_its_metric() -> None:
    """And no other."""
    table = rows(section("docs/operating.md", "## What a poll reports"))
    figures = [(code(cells[0]), code(cells[1])) for cells in table]

    assert sorted(name for figure, _ in figures for name in figure) == sorted(
        PollSummary().as_json()
    )
    assert sorted(name for _, metric in figures for name in metric) == sorted(METRICS)
    assert [code(cells[1])[0] for cells in table if "(heartbeat)" in cells[1]] == [HEARTBEAT]
    for name, seconds in PUBLISHED_FROM_SECONDS.items():
        (line,) = (cells[-1] for cells in table if code(cells[1]) == [name])
        assert f"from {seconds} seconds" in line
    assert f"`{contract.METRICS_NAMESPACE}`" in read("docs/operating.md")
    assert f"metric `{ERRORS}`" in section("docs/operating.md", "## Error codes")


def test_every_alarm_has_an_entry_with_a_remedy() -> None:
    """The entry says what to look at and what to do."""
    text = section("docs/operating.md", "## Alarms")
    entries = re.findall(r"^### (\w+)$", text, re.MULTILINE)

    assert entries == list(ALARMS)
    for name in entries:
        entry = section("docs/operating.md", f"### {name}")
        assert "Triggers when" in entry
        assert "- **Look at**" in entry
        assert "- **Do**" in entry


def test_number_of_alarms_is_that_of_the_template(template: Template) -> None:
    """A deployment without settings has the alarms listed, as many as the bill counts."""
    ids = [
        logical_id
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]

    assert len(ids) == ALARMS_BY_DEFAULT
    assert all(any(f"Alarms{name}" in logical_id for name in ALARMS) for logical_id in ids)


SERVICES_WITH_CODES = ("Bedrock", "DynamoDB", "EventBridge", "SNS", "STS", "StepFunctions")


def own_codes_of_services() -> Iterator[str]:
    """The codes that the adapters make up, each with its service before it."""
    for path in (ROOT / ADAPTERS).rglob("*.py"):
        source = path.read_text()
        service = re.search(r'^SERVICE: Final = "(\w+)"$', source, re.MULTILINE)
        if service is not None:
            for name in re.findall(r'f"\{SERVICE\}\.(\w+)"', source):
                yield f"{service[1]}.{name}"


def test_page_explains_the_error_codes_of_the_monitor() -> None:
    """And every service that has codes."""
    source = "\n".join(path.read_text() for path in (ROOT / "functions").rglob("*.py"))
    own = set(re.findall(r'"((?:Item|EventBridge|DynamoDB)\.\w+)"', source))
    own |= set(own_codes_of_services())
    own |= {
        f"Item.{argument.value}"
        for call in calls_in_function()
        if isinstance(call.func, ast.Name) and call.func.id == "JobError"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    own |= {f"Bedrock.{code}" for code in (*COMMON_REFUSALS, errors.UNUSABLE_ANSWER)}
    own |= {THROTTLED, REFUSED, errors.ROLE_REFUSED}
    listed = {
        name
        for cells in rows(section("docs/operating.md", "## Error codes"))
        for name in code(cells[0])
    }

    assert {name for name in listed if not name.endswith("…")} == own
    assert {name.removesuffix("…") for name in listed if name.endswith("…")} == {
        f"{service}." for service in (*SERVICES_WITH_CODES, "Monitor")
    }


def test_log_lines_on_the_page_exist() -> None:
    """The function writes them."""
    written = {
        text.value
        for call in calls_in_function()
        if isinstance(call.func, ast.Attribute)
        and call.args
        and call.func.attr in {"info", "warning", "error", "exception"}
        for text in ast.walk(call.args[0])
        if isinstance(text, ast.Constant)
    }
    listed = [code(cells[0])[0] for cells in rows(section("docs/operating.md", "## Logs"))]

    assert sorted(listed) == sorted(written)


def test_cost_estimate_uses_realistic_sizes(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes that the bill counts are not below those of a real poll."""
    for _ in range(20):
        deployed.add_job("InProgress")
    log = StringIO()
    before = logger.registered_handler.setStream(log)
    try:
        invoke()
        log.seek(0)
        log.truncate()
        capsys.readouterr()
        invoke()
    finally:
        logger.registered_handler.setStream(before)
    # Lambda's own START, END and REPORT come on top of it.
    assert len(log.getvalue() + capsys.readouterr().out) < LOG_BYTES - 400
    [largest] = sorted(map(size_of, deployed.dynamodb.scan(TableName="jobs")["Items"]))[-1:]
    assert largest < cost.JOB_ITEM_BYTES
    index = deployed.dynamodb.query(
        TableName="jobs",
        IndexName=contract.ACTIVE_JOBS_INDEX,
        KeyConditionExpression="tracking = :active",
        ExpressionAttributeValues={":active": {"S": "ACTIVE"}},
    )["Items"]
    assert max(map(size_of, index)) < cost.INDEX_ENTRY_BYTES


def size_of(item: dict[str, dict[str, object]]) -> int:
    """Bytes of an item, by the length of its JSON, which is more than DynamoDB counts."""
    return sum(
        len(name) + len(json.dumps(value)) - len('{"S": ""}') for name, value in item.items()
    )


@pytest.mark.parametrize(
    ("discovery", "more"),
    [(None, []), ("", ["DescribeTable", "ListModelInvocationJobs", "BatchGetItem"])],
)
def test_poll_makes_the_calls_of_the_cost_estimate(
    cloud: Cloud, discovery: str | None, more: list[str]
) -> None:
    """A poll without changes makes these calls in addition to those for jobs, and no write."""
    cloud = cloud.with_settings(discovery_prefix=discovery)
    cloud.add_job("InProgress")
    # An active job is known to be there; of one that has ended discovery has to find that out.
    cloud.add_job("Completed")
    cloud.poll()
    made: list[str] = []
    for client in (cloud.monitor.jobs._client, cloud.monitor.reconciler.bedrock._client):
        client.meta.events.register("before-call", lambda model, **_: made.append(model.name))
    cloud.poll()
    # The reads of up to 32 jobs are made at once.
    assert len(made) <= CALLS
    made.remove("GetModelInvocationJob")

    assert made == ["GetItem", "Query", "Query", *more]


def test_files_of_the_layout_exist() -> None:
    (layout,) = [block for block in blocks() if block.mark == "layout"]

    assert all((ROOT / line.split()[0]).exists() for line in layout.text.splitlines())


def test_architecture_picture_is_valid() -> None:
    """It is well-formed, has a description, adapts to dark pages, and contains no event name."""
    text = read("docs/architecture.svg")
    root = ET.fromstring(text)  # noqa: S314 - a file of this repository

    assert {child.tag.rpartition("}")[2] for child in root} >= {"title", "desc"}
    assert "prefers-color-scheme: dark" in text
    for name in (
        contract.ACTIVE_JOBS_INDEX,
        contract.PENDING_EVENTS_INDEX,
        contract.BY_STATUS_INDEX,
    ):
        assert name in text
    # The picture shows the parts; which events there are is on the page of events.
    assert not any(detail_type in text for detail_type in FILES)


@pytest.mark.parametrize("page", [*PAGE_NAMES, "SECURITY.md"])
def test_commands_of_bbm_on_pages_exist(page: str) -> None:
    """Every `bbm <command>` exists."""
    named = re.findall(r"(?:`|^\$ |^(?:\.venv/bin/)?)bbm ([a-z]+)", read(page), re.MULTILINE)

    assert set(named) <= set(commands())


def test_readme_has_at_most_1200_words() -> None:
    """Code blocks, generated markers and link targets do not count."""
    text = re.sub(r"<!--.*?-->|<[^>]*>|\]\([^)]*\)", " ", without_blocks(read("README.md")))

    assert len(re.findall(r"[^\s|]*\w[^\s|]*", text)) <= 1200


def test_page_has_the_number_of_seeded_bugs() -> None:
    """All variants except the harmless one; a test of the explorer finds each."""
    tests = (ROOT / "tests/explorer/test_explorer.py").read_text()
    used = set(re.findall(r"\bvariants\.(\w+)", tests))
    tree = ast.parse((ROOT / "tests/explorer/variants.py").read_text())
    declared = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert used == declared
    found = len(declared - {"index_trusted"})
    assert f"The explorer finds {found} ways of breaking the monitor" in read("docs/reliability.md")

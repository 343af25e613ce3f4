"""The discovery of one poll: which jobs it tracks, how far it comes, and what it saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.discover import Discoverer, Discovery, record_discovery_off
from bedrock_batch_monitor.domain.discovery import Bookmark, JobFilter, TableInfo, list_from
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.list_pages import ListedJob, Listing, ListPage
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.summary import PollSummary
from tests.support.strategies import ARN, NOW

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
THROTTLED = ServiceError("Bedrock", "ThrottlingException", "m")
DENIED = ServiceError("Bedrock", "AccessDeniedException", "m")
TABLE = TableInfo("table", NOW - 30 * DAY, is_restored=False)
BOOKMARK = Bookmark(NOW - 30 * DAY, NOW - HOUR, full_list_at=NOW - HOUR, table_id="table")


def listed(number: int, **changes: Any) -> ListedJob:
    """A job that runs, submitted so many minutes ago."""
    job = ListedJob(
        f"{ARN[:-4]}{number:04}", f"job-{number}", "InProgress", NOW - number * HOUR / 60
    )
    return job._replace(**changes)


@dataclass
class Case:
    """A discovery on fakes: the pages of Bedrock's list, and the items that there are."""

    pages: list[ListPage[ListedJob] | ServiceError] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    state: State = field(default_factory=lambda: State(discovery=BOOKMARK))
    seconds: float = 900.0
    since: datetime | None = None
    reach: timedelta = timedelta(0)
    wanted: JobFilter = field(default_factory=JobFilter)
    table: Any = TABLE
    summary: PollSummary = field(default_factory=PollSummary)
    listings: list[tuple[Listing, str | None]] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    started: list[TrackedJob] = field(default_factory=list)
    saved: list[tuple[Any, ...]] = field(default_factory=list)
    written: WriteResult = DONE
    waits: int = 0
    jobs: Any = field(default_factory=Mock)

    def run(self, *tracked: str) -> None:
        """One poll that knows these jobs to have an item."""
        bedrock: Any = Mock()
        bedrock.pages.side_effect = self._pages
        self.jobs.describe.side_effect = self._describe
        self.jobs.unknown.side_effect = self._unknown
        self.jobs.start_tracking.side_effect = lambda *_, **__: self.written
        pool: Any = Pool(self)
        bookmarks: Any = Mock()
        bookmarks.save.side_effect = lambda *saved: self.saved.append(saved[1:])
        discoverer = Discoverer(bedrock, self.jobs, lambda: NOW, self.wanted, self.reach)
        Discovery(discoverer, bookmarks, pool, self.summary, self.started.append, self.since).run(
            self.state, tracked
        )

    def _pages(self, listing: Listing, token: str | None) -> Iterator[ListPage[ListedJob]]:
        self.listings.append((listing, token))
        while self.pages:
            page = self.pages.pop(0)
            if isinstance(page, ServiceError):
                raise page
            yield page
            if page.next_token is None:
                return

    def _describe(self) -> TableInfo:
        if isinstance(self.table, ServiceError):
            raise self.table
        return self.table  # type: ignore[no-any-return]

    def _unknown(self, arns: Sequence[str]) -> set[str]:
        self.asked.append([*arns])
        return {*arns} - self.known

    @property
    def names(self) -> list[str]:
        """The jobs that were started, by the end of their ARN."""
        return [job.job_arn[-4:] for job in self.started]


@dataclass
class Pool:
    """The time of a poll, of which each call takes as much as the case says."""

    case: Case

    @property
    def time_is_up(self) -> bool:
        """Whether no new call may begin."""
        return self.case.seconds < 15

    def remaining_seconds(self) -> float:
        """The time that is left."""
        return self.case.seconds

    def remaining_after(self, share: float) -> float:
        """What is left after a share of the time."""
        return self.case.seconds * (1 - share)

    def wait_for_all(self) -> None:
        """Nothing is under way."""
        self.case.waits += 1


def page(*jobs: ListedJob, token: str | None = None) -> ListPage[ListedJob]:
    return ListPage(jobs, token)


def test_new_jobs_are_tracked_and_read() -> None:
    """Those without an item; the bookmark moves to the end of the list."""
    case = Case([page(listed(3), listed(2), token="2"), page(listed(1))], {listed(3).job_arn})  # noqa: S106
    case.run(listed(2).job_arn)
    assert case.names == ["0001"]
    assert case.asked == [[listed(3).job_arn], [listed(1).job_arn]]
    assert case.listings == [(Listing(list_from(BOOKMARK)), None)]
    assert case.jobs.start_tracking.call_args.kwargs == {
        "tracked_by": "discovery",
        "now": NOW,
        "backfilled": False,
    }
    assert (case.summary.jobs_discovered, dict(case.summary.errors)) == (1, {})
    [(bookmark, position)] = case.saved
    assert bookmark.seen_until > NOW - HOUR / 10
    assert position is None


def test_job_that_another_writer_tracked_is_left_to_it() -> None:
    """It reads the job as well."""
    case = Case([page(listed(1))], written=WriteResult(WriteOutcome.CONFLICT))
    case.run()
    assert (case.names, case.summary.jobs_discovered) == ([], 0)


def test_jobs_are_looked_up_in_whole_batches() -> None:
    """As many keys as one call takes, and none that the limits exclude."""
    jobs = [listed(number) for number in range(201, 0, -1)]
    case = Case([page(*jobs)])
    case.run()
    assert [len(batch) for batch in case.asked] == [100, 100, 1]
    assert len(case.started) == 201

    none = Case([page(*jobs)], wanted=JobFilter("nightly-"))
    none.run()
    assert (none.asked, none.started) == ([], [])
    assert none.listings[0][0].name_contains == "nightly-"


@pytest.mark.parametrize(("seconds", "described"), [(14.0, False), (15.0, True)])
def test_discovery_begins_only_with_time(
    seconds: float,
    described: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """Nothing is called without it."""
    case = Case([page()], seconds=seconds)
    case.run()
    assert case.jobs.describe.called is described
    assert bool(case.listings) is described


@pytest.mark.parametrize(("left", "names"), [(50.0, ["0050", "0001"]), (49.0, ["0050"])])
def test_list_ends_after_half_of_the_time(left: float, names: list[str]) -> None:
    """The page that was read then is tracked, and the next poll goes on from there."""
    case = Case([page(listed(50), token="2"), page(listed(1))], seconds=100.0)  # noqa: S106

    def unknown(arns: Sequence[str]) -> set[str]:
        case.seconds = left
        return set(arns)

    case._unknown = unknown  # type: ignore[method-assign]
    case.run()
    assert case.names == names
    [(bookmark, position)] = case.saved
    assert position is None
    assert (bookmark.seen_until == NOW - 50 * HOUR / 60) is (names == ["0050"])


def test_page_that_was_not_tracked_to_its_end_is_not_passed() -> None:
    """The bookmark stays at the last job of the batches that were tracked."""
    numbers = range(131, 30, -1)
    jobs = [listed(number, submit_time=NOW - number * HOUR / 6) for number in numbers]
    early = replace(BOOKMARK, seen_until=NOW - 23 * HOUR)
    case = Case([page(*jobs)], state=State(discovery=early))

    def unknown(arns: Sequence[str]) -> set[str]:
        case.seconds = 14.0
        return set(arns)

    case._unknown = unknown  # type: ignore[method-assign]
    case.run()
    assert len(case.started) == 100
    assert case.waits == 1
    [(bookmark, _)] = case.saved
    assert bookmark.seen_until == jobs[99].submit_time


def test_jobs_with_odd_times_do_not_move_the_bookmark() -> None:
    """They are tracked, and the list is read again from where it began."""
    odd = datetime(1, 1, 1, tzinfo=NOW.tzinfo)
    case = Case([page(listed(1, submit_time=odd), token="2"), THROTTLED])  # noqa: S106
    case.run()
    assert case.names == ["0001"]
    assert [bookmark.seen_until for bookmark, _ in case.saved] == [BOOKMARK.seen_until]


@pytest.mark.parametrize(
    ("failure", "position", "refused"),
    [
        (THROTTLED, ListPosition(list_from(BOOKMARK), "2"), 0),
        (DENIED, None, 1),
    ],
    ids=["throttled", "denied"],
)
def test_list_without_jobs_continues_after_an_error(
    failure: ServiceError, position: ListPosition | None, refused: int
) -> None:
    """From its token, unless the error is a refusal: the token may be the reason."""
    case = Case([page(token="2"), failure])  # noqa: S106
    case.run()
    assert case.summary.errors == {failure.code: 1}
    assert case.summary.refused == refused
    assert [saved[1] for saved in case.saved] == ([position] if position else [])
    if position is not None:
        again = Case([page(listed(1))], state=State(discovery=BOOKMARK, list_position=position))
        again.run()
        assert again.listings == [(Listing(position.submitted_after), "2")]
        assert again.saved[0][1] is None


def test_position_of_another_list_is_not_continued() -> None:
    """It belongs to the bookmark with which it was stored."""
    position = ListPosition(NOW - 2 * HOUR, "2")
    old = replace(BOOKMARK, full_list_at=NOW - 2 * DAY)
    case = Case([page()], state=State(discovery=old, list_position=position))
    case.run()
    [(listing, token)] = case.listings
    assert token is None
    assert listing.submitted_after < NOW - 7 * DAY


def test_full_list_finds_lost_items_of_jobs_that_were_read() -> None:
    """Once a day, and from a given time on when somebody asks for it."""
    old = State(discovery=replace(BOOKMARK, full_list_at=NOW - 2 * DAY))
    full = Case([page(listed(1))], state=old)
    full.run(listed(1).job_arn)
    assert full.names == ["0001"]

    asked = Case([page(listed(1))], since=NOW - 3 * DAY)
    asked.run(listed(1).job_arn)
    assert asked.names == ["0001"]
    begin = replace(BOOKMARK, seen_until=NOW - 3 * DAY)
    assert asked.listings == [(Listing(list_from(begin)), None)]
    later = Case([page(listed(1))], since=NOW)
    later.run()
    assert later.listings == [(Listing(list_from(BOOKMARK)), None)]


def test_unknown_table_stops_only_a_discovery_that_begins() -> None:
    """What a stored bookmark says is enough."""
    failure = ServiceError("DynamoDB", "ThrottlingException", "m")
    case = Case([page(listed(1))], table=failure)
    case.run()
    assert case.names == ["0001"]
    assert case.summary.errors == {failure.code: 1}
    [(bookmark, _)] = case.saved
    assert bookmark.table_id == "table"
    new = Case([page(listed(1))], table=failure, state=State(exists=False))
    new.run()
    assert (new.listings, new.saved) == ([], [])


def test_ended_jobs_of_the_past_are_recorded_in_the_history_alone() -> None:
    """From the newest to the oldest, as far as the setting says."""
    began = replace(BOOKMARK, began_at=NOW - DAY)
    past = [
        listed(n, status="Failed", submit_time=NOW - n * DAY, end_time=NOW - n * DAY)
        for n in (2, 3)
    ]
    case = Case([page(), page(*past)], state=State(discovery=began), reach=5 * DAY)
    case.run()
    assert case.names == ["0002", "0003"]
    assert all(job.backfilled for job in case.started)
    assert case.jobs.start_tracking.call_args.kwargs["backfilled"] is True
    assert case.summary.jobs_discovered == 0
    listing, _ = case.listings[-1]
    assert (listing.submitted_after, listing.newest_first) == (NOW - 5 * DAY, True)
    assert listing.submitted_before == NOW - DAY + timedelta(seconds=1)
    assert case.saved[-1] == (NOW - 5 * DAY,)

    failed = Case(
        [page(), page(*past, token="2"), THROTTLED],  # noqa: S106
        state=State(discovery=began),
        reach=5 * DAY,
    )
    failed.run()
    assert failed.saved[-1] == (NOW - 3 * DAY,)
    nothing = Case([page(), THROTTLED], state=State(discovery=began), reach=5 * DAY)
    nothing.wanted = JobFilter("nightly-")
    nothing.run()
    assert nothing.saved == []
    again = State(discovery=began, backfilled_since=NOW - 2 * DAY)
    failed_again = Case([page(), THROTTLED], state=again, reach=5 * DAY)
    failed_again.run()
    assert failed_again.saved == []
    assert nothing.listings[-1][0].name_contains == "nightly-"
    done = Case([page()], state=State(discovery=began, backfilled_since=NOW - 5 * DAY))
    done.reach = 5 * DAY
    done.run()
    assert len(done.listings) == 1


@pytest.mark.parametrize(
    ("state", "saves"),
    [
        (State(), 0),
        (State(discovery=BOOKMARK), 1),
        (State(discovery=replace(BOOKMARK, off_since=NOW)), 0),
        (State(discovery=replace(BOOKMARK, off_since=NOW, on_again_at=NOW)), 1),
        (State(exists=False), 1),
    ],
)
def test_discovery_that_is_switched_off_is_recorded_once(state: State, saves: int) -> None:
    """Also after it was on again, and for a new deployment, which has no bookmark."""
    bookmarks: Any = Mock()
    record_discovery_off(bookmarks, state, NOW)
    assert bookmarks.save.call_count == saves

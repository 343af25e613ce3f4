"""The quotas of an account for batch inference, as Service Quotas has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor.adapters.errors import (
    ODD_ANSWER,
    UNUSABLE_ANSWER,
    ServiceError,
    storable,
)
from bedrock_batch_monitor.adapters.sdk import bounded_config, guard, pages_of
from bedrock_batch_monitor.domain.slots import limits_in

if TYPE_CHECKING:
    import boto3

SERVICE: Final = "ServiceQuotas"
# The reason of the error if the time is up before the last page.
NO_TIME: Final = "NoTime"
_SERVICE_CODE: Final = "bedrock"
_PAGE: Final = 100
# Amazon Bedrock has more than a thousand quotas.
_MOST_PAGES: Final = 50


class BatchQuotas:
    """The quotas of one account and Region.

    The client is made when it is first needed: the quotas are read once a day.
    """

    def __init__(self, session: boto3.Session, region: str) -> None:
        self._session = session
        self._region = region

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes the class at run time
        config = bounded_config(concurrency=1, attempts=2)
        client = self._session.client("service-quotas", region_name=self._region, config=config)
        return guard(client)

    def limits(self, has_time: Callable[[], bool]) -> dict[str, int]:
        """The limits of active batch jobs by the name of the model; raises `ServiceError`.

        It is an error, too, if the time is up before the last page.
        """
        try:
            return limits_in(
                (name, value)
                for quota in self._quotas(has_time)
                if isinstance(name := quota.get("QuotaName"), str)
                and isinstance(value := quota.get("Value"), float | int)
            )
        except ODD_ANSWER as error:
            raise ServiceError(SERVICE, UNUSABLE_ANSWER, storable(str(error))) from error

    def _quotas(self, has_time: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
        pages = self._client.get_paginator("list_service_quotas").paginate(
            ServiceCode=_SERVICE_CODE, PaginationConfig={"PageSize": _PAGE}
        )
        for page in islice(pages_of(SERVICE, pages), _MOST_PAGES):
            quotas = page.get("Quotas")
            if not isinstance(quotas, list):
                raise ServiceError(SERVICE, UNUSABLE_ANSWER, "the answer is not a list of quotas")
            yield from quotas
            if not has_time():
                raise ServiceError(SERVICE, NO_TIME, "the time of the poll is up")

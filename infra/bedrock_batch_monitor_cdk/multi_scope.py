"""Monitoring of accounts and Regions in addition to the monitor's own: see the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import Stack, Token

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor_cdk.config import ConfigError

if TYPE_CHECKING:
    from constructs import Construct

    from bedrock_batch_monitor.domain.scopes import Scopes
    from bedrock_batch_monitor_cdk.config import MonitorConfig


@dataclass(frozen=True, slots=True)
class MultiScope:
    """The scopes of a deployment that monitors more than its own, and the roles to assume."""

    scopes: Scopes
    role_name: str
    external_id: str
    organization_id: str | None

    @property
    def accounts(self) -> tuple[str, ...]:
        """The other accounts, in order."""
        found = {scope.account for scope in self.scopes.others}
        return tuple(sorted(found - {self.scopes.home.account}))

    @property
    def regions_at_home(self) -> tuple[str, ...]:
        """The other Regions of the monitor's account, in order."""
        home = self.scopes.home
        return tuple(scope.region for scope in self.scopes.others if scope.account == home.account)

    def member_roles(self, scope: Construct) -> list[str]:
        """The ARN of every role to assume."""
        partition = Stack.of(scope).partition
        return [
            contract.member_role_arn(partition, other.account, self.role_name, other.region)
            for other in self.scopes.others
            if other.account != self.scopes.home.account
        ]

    def environment(self) -> dict[str, str]:
        """The variables of the functions, kept short: a function's environment has 4 KB."""
        others = self.scopes.others
        found = {settings.MONITORED_REGIONS: ",".join(sorted({other.region for other in others}))}
        if self.accounts:
            found |= {
                settings.MONITORED_ACCOUNTS: ",".join(self.accounts),
                settings.MEMBER_ROLE_NAME: self.role_name,
                settings.MEMBER_EXTERNAL_ID: self.external_id,
            }
        return found


def multi_scope_of(scope: Construct, config: MonitorConfig) -> MultiScope | None:
    """The scopes that the settings name in addition to the stack's own; None without any.

    Raises `ConfigError`, also if the account and Region of the stack are unknown: without them the
    monitor could not distinguish its own scope from the others.
    """
    if not config.is_multi_scope:
        return None
    stack = Stack.of(scope)
    if Token.is_unresolved(stack.account) or Token.is_unresolved(stack.region):
        problem = (
            "regions and accounts need the account and Region that the monitor is deployed to: "
            "have AWS credentials and a Region in the environment"
        )
        raise ConfigError((problem,))
    home = Scope(stack.account, stack.region)
    scopes = config.scopes(home)
    if not scopes.others:
        return None
    return MultiScope(
        scopes=scopes,
        role_name=config.member_role_name,
        external_id=config.member_external_id or contract.external_id(home.account, home.region),
        organization_id=config.organization_id,
    )

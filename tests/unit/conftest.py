"""Unit tests are pure: a test that opens a socket fails."""

from __future__ import annotations

import pytest_socket


def pytest_runtest_setup() -> None:
    """Close the network for every test of this folder."""
    pytest_socket.disable_socket()


def pytest_runtest_teardown() -> None:
    """Open it again for the tests of other folders that run in the same process."""
    pytest_socket.enable_socket()

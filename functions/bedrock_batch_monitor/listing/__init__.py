"""Which active jobs a poll fetches: list scans and the resync."""

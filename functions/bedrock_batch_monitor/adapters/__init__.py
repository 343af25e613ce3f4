"""One module per AWS service: the only places that call the SDK."""

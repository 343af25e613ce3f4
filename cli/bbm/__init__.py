"""`bbm`, the command line of the Bedrock Batch Monitor."""

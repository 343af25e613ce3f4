"""The commands of `bbm`: each reads its options, calls functions and shows their result."""

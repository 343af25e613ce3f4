"""The emulator's own process: `python -P gateway.py [DIRECTORY]`, started by `local.emulator`.

It runs ministack's server in this process and ends, with the functions it runs, when its standard
input closes; it removes DIRECTORY then. The starter holds the other end of that pipe, so nothing
survives the starter, not even one that was killed.
"""

import os
import shutil
import signal
import sys
import threading

from ministack.app import main  # type: ignore[import-untyped] # it has no annotations


def _end_with_starter(directories: list[str]) -> None:
    while os.read(0, 1):
        pass
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # The server reads the command line too, and knows no such argument.
    arguments, sys.argv[1:] = sys.argv[1:], []
    threading.Thread(target=_end_with_starter, args=(arguments,), daemon=True).start()
    main()

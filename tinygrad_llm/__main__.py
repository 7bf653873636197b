"""`python -m tinygrad_llm` and the console script `tinygrad-llm`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line. Until a command runs, Ctrl-C ends the process at once, with exit code 130.

    An exception in the middle of an import would end in a traceback, and leave modules that are half imported.
    """

    def end(signum: int, frame: object) -> None:
        os._exit(128 + signum)

    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    from tinygrad_llm.cli import main as run

    return run(loaded=lambda: signal.signal(signal.SIGINT, interrupted))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tinygrad_llm` and the console script `tinygrad-llm`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line. Before and after a command, Ctrl-C ends the process at once, with exit code 130.

    An exception in the middle of an import, or while the interpreter ends, would end in a traceback; the former would
    also leave modules that are half imported.
    """

    def end(signum: int, frame: object) -> None:
        os._exit(128 + signum)

    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    from tinygrad_llm.cli import main as run

    try:
        code = run(loaded=lambda: signal.signal(signal.SIGINT, interrupted))
        if interrupted is signal.default_int_handler:
            signal.signal(signal.SIGINT, end)
    except KeyboardInterrupt:  # a second one, while the first is reported
        end(signal.SIGINT, None)
    return code


if __name__ == "__main__":
    sys.exit(main())

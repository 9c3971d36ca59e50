"""Train an agent: ``python train.py --help``."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules are imported, Ctrl-C ends the process without a word
from coagent_rl.train import main  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    sys.exit(main())

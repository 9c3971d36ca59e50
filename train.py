"""Train an agent: ``python train.py --help``."""

import sys

from coagent_rl.train import main

if __name__ == "__main__":
    sys.exit(main())

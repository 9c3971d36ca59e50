"""Evaluate a trained agent: ``python evaluate.py --help``."""

import sys

from coagent_rl.evaluate import main

if __name__ == "__main__":
    sys.exit(main())

"""Evaluate a trained agent: ``python evaluate.py --help``."""

import sys

try:
    from coagent_rl.evaluate import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())

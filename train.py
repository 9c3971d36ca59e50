"""Train an agent: ``python train.py --help``."""

import sys

try:
    from coagent_rl.train import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())

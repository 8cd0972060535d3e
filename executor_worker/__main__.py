"""`python -m executor_worker`: the same as `executor-worker`."""

import sys

from executor_worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

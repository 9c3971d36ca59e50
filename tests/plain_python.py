"""Programs that run compiled, and as the plain Python that a debugger can enter."""

import os
import subprocess
import sys


def printed_by(program: str, jit: bool) -> str:
    """What a program prints in a process of its own, compiled or not; ``{jit}`` in it says which."""
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program.format(jit=jit)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": str(int(not jit))},
    ).stdout

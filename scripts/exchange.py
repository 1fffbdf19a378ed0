"""`make exchange`: the exchange of the demo, for a person, until Ctrl-C. It has the flags of `python -m tests.exchange`."""

from __future__ import annotations

import os
import sys

from replay import DEMO_MARKET, ROOT

if __name__ == "__main__":
    os.chdir(ROOT)
    # In place of this process: Ctrl-C and the end of a terminal reach the exchange itself.
    os.execv(sys.executable, [sys.executable, "-m", "tests.exchange", *DEMO_MARKET, *sys.argv[1:]])

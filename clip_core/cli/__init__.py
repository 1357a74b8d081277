"""The command line: `python -m clip_core`, or `clip-zero-shot` where it is installed."""

import sys
from pathlib import Path

SCRIPT = "clip-zero-shot"  # as an installation names it
PROGRAM = SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m clip_core"  # for messages

"""The server: flags, start, requests' limits, uploads, metrics, and the end in order."""

import sys
from pathlib import Path

SCRIPT = "clip-zero-shot-app"  # as an installation names it
PROGRAM = SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "app.py"  # for messages

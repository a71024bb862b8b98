"""The small world in which the documentation's examples run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # doc_blocks.py, click_tree.py, doc_world.py

"""A plugin of pytest, `-p tests.no_tensorflow`: TensorFlow is not installed.

What must work without it: training on token shards, and generating.
"""

import sys

sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None

"""A plugin of pytest, `-p tests.helpers.no_tensorflow`: no TensorFlow.

What must work without it: training on token shards, and generating.
"""

import sys

sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None

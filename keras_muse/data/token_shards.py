"""Token shards: tokenize once, train many times.

`token_records.py` says what is in a file, `token_encoding.py` how it gets
there, `token_dataset.py` how it is read in a shuffled order.
"""

from keras_muse.data.token_shards_reader import read_token_shards
from keras_muse.data.token_shards_writer import write_token_shards

__all__ = ["read_token_shards", "write_token_shards"]

"""Files and directories: read safely, and written whole or not at all.

Here are the formats of weights (safetensors, HDF5, pickles, MessagePack), the
one import of KerasHub's presets, and what writes a file or a directory as one
thing. Nothing here knows a model.
"""

"""The cascade from a prompt to a picture. Read `muse.py` first.

Here the models are put together; what a model does is not here.
"""

"""Pictures and captions as tokens: written once, read by every training.

The format of a record and of the files is here, and nothing of how pictures
are found or decoded.
"""

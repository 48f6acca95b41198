"""The subcommands of `keras-muse`, one per file.

A command turns words into calls of the public functions; nothing of what it
does is to be had by the command alone.
"""

"""The subcommands of `keras-muse`, one a file.

A command turns words into calls of the public functions; nothing of what it
does is to be had by the command alone.
"""

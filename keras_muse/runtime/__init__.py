"""What surrounds a computation: where compiled programs are kept.

Nothing here knows a model; it imports nothing else of the package.
"""

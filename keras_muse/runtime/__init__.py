"""What surrounds a computation: compiled programs, batches, checks.

Here is how a function of a model is compiled on the backend at hand, how rows
are cut into batches of one shape, where compiled programs are kept, and how
arguments are checked. Nothing here knows a model of this package; it imports
nothing else of it.
"""

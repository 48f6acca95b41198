"""Whole trainings: from captioned pictures to a `Muse` that draws them.

What a recipe puts together is all to be had by itself, in the rooms below:
here are only the choices, their reasons, and the order of the work.
"""

"""Masked transformers over image tokens, how they are trained and decoded.

A model says what its layers compute; masks, losses and decoding are functions
that are handed a model.
"""

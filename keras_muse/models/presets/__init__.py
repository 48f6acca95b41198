"""Presets: what has a name, loading and saving, LoRA, quantization.

Functions that are handed a model or its class; no model is defined here.
"""

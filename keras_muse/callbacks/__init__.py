"""Callbacks that watch a training's numbers; they know no model."""

"""Pure functions on `keras.ops`: no variables, numpy is their oracle."""

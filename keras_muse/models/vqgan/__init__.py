"""The image tokenizer, its critic, and how both are trained."""

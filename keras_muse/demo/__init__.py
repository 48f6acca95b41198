"""The page of `keras-muse demo`: draw and edit in a browser, on this machine.

The work behind the buttons is in files that know nothing of a page; what is
seen, and who may ask for what, in those that import gradio, the extra `demo`.
"""

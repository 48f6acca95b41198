"""Where the files lie that come with the package."""

import pathlib

ASSETS = pathlib.Path(__file__).parent.parent / "assets"

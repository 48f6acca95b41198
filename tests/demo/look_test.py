import re

from keras_muse.demo import look


def test_nothing_comes_from_another_machine():
    """Fonts of the theme would come from Google, and tell it of each visit."""
    theme = look.theme()
    for css in (look.CSS, theme._get_theme_css(), *theme._stylesheets):
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", css)
    fonts = re.findall(r"--font(?:-mono)?: ([^;]+);", theme._get_theme_css())
    assert "system-ui" in fonts[0] and "ui-monospace" in " ".join(fonts)

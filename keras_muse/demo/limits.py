"""How much one person may ask of the page at once."""

from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_texts

MAX_CHARACTERS = 500  # of a prompt
MAX_IMAGES = 8  # of one click
MAX_STEPS = 64
MAX_ROUNDS = 200
MAX_GUIDANCE = 10
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 2
MAX_PADDING = 256  # pixels of a side
MAX_SIDE = 1024  # of a picture that is drawn on
MAX_KEPT = 24  # pictures of a session
MAX_SESSIONS = 100
# A picture that comes in, as a file and unpacked.
MAX_BYTES = 2**23
MAX_PIXELS = 2**24
MAX_PAINT = 2**20  # bytes of what is painted, a picture of one colour
QUEUE = 64  # clicks that wait


def check_prompt(text, argument="prompt", is_needed=True):
    """A prompt as a string, without space around it.

    Args:
        text: anything that came from the page.
        argument: string. What the person calls it.
        is_needed: bool. Whether it must not be empty.
    """
    if text is None:
        text = ""
    (text,) = check_texts([text], argument)
    text = text.strip()
    if is_needed and not text:
        raise ValueError("Say what is to be drawn: the prompt is empty.")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"`{argument}` must be of at most {MAX_CHARACTERS} characters. "
            f"Received: {len(text)}"
        )
    return text


def check_whole(value, argument, low, high):
    """A whole number that a page sends, perhaps as a float, as an int."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_int(value, argument, low=low, high=high)

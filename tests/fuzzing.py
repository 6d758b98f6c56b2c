"""Values of any shape, and the sentence that refuses them."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from whisper_pair.errors import InputError

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(max_size=12)
plain = st.none() | st.booleans() | st.integers() | st.floats() | words
trees = st.recursive(plain, lambda part: st.lists(part, max_size=3) | st.dictionaries(words, part, max_size=3))
DEEP = "[" * 100_000


def refused(action) -> str:
    """The sentence, where the action refuses; "" where it does not."""
    try:
        action()
    except InputError as error:
        message = str(error)
    else:
        return ""
    assert message.strip()
    assert "\n" not in message
    return message

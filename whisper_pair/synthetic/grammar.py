"""A small grammar of Dutch: `sentence(rng)` draws one sentence of six to nine words.

It gives variety from few words: some eighty words in five sentence shapes give millions of sentences. So a held-out
split shares no sentence with training, and a model must use the audio, since the words before do not predict the next
one. Few words, because random weights must learn each of them from a few thousand clips within minutes.
"""

from random import Random


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases of a text."""
    return text.split("|")


NAMES = words("Anna Bram Claudia Daan Eva Frank Hanneke Jaap Karin Niels Olga Pieter")
VERBS = words("koopt zoekt verkoopt schildert vindt draagt wast tekent")
NUMERALS = words("twee drie vier vijf zes zeven acht negen tien elf twaalf dertig")
ADJECTIVES = words("rode blauwe groene oude nieuwe grote kleine dure")
THINGS = words("""
appels boeken fietsen lampen schoenen stoelen brieven klokken messen vogels bloemen kaarsen ringen jassen kussens
wagens""")
PLACES = phrases(
    "in Utrecht|in Gent|in Breda|op de markt|in de tuin|bij de brug|op zolder|aan de haven|in het bos|naast het station"
)
TIMES = phrases("vandaag|gisteren|vanavond|op zaterdag|op woensdag|elke dag|deze week|vorig jaar")


def sentence(rng: Random) -> str:
    """One Dutch sentence with capital and full stop, all randomness from `rng`."""
    who, other = rng.sample(NAMES, 2)
    lists = (VERBS, NUMERALS, ADJECTIVES, THINGS, PLACES, TIMES)
    does, count, like, what, place, when = (rng.choice(kind) for kind in lists)
    shapes = [
        f"{who} {does} {count} {like} {what} {place}.",
        f"{when} {does} {who} {count} {like} {what}.",
        f"{place} {does} {who} {when} {count} {what}.",
        f"{who} en {other} zien {when} {count} {like} {what}.",
        f"{other} zegt dat {who} {place} {count} {what} {does}.",
    ]
    text = rng.choice(shapes)
    return text[0].upper() + text[1:]


def distinct_sentences(rng: Random, count: int) -> list[str]:
    """`count` sentences no two of which are the same."""
    found: dict[str, None] = {}  # a set that keeps its order
    while len(found) < count:
        found[sentence(rng)] = None
    return list(found)

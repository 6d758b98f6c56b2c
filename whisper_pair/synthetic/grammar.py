"""A small grammar of Dutch: `sentence(rng)` draws one sentence of about 5 to 15 words.

Its point is variety from few words: some three hundred word forms in ten sentence shapes give far more sentences than
anybody will ever speak, so a held-out split can be kept wholly unseen, and a model has to listen, because the words
before do not tell which word follows. Few words, because random weights must learn each from a few thousand clips.
Articles, adjective endings, verb forms and word order are right: what it learns is a language, if a simple one.
"""

from random import Random


def words(text: str) -> list[str]:
    return text.split()


def phrases(text: str) -> list[str]:
    return text.strip().replace("\n", "|").split("|")


# singular:plural, by article
DE_THINGS = words("""
appel:appels auto:auto's bloem:bloemen brief:brieven emmer:emmers fiets:fietsen jas:jassen kast:kasten koffer:koffers
lamp:lampen munt:munten schaar:scharen stoel:stoelen tafel:tafels""")
HET_THINGS = words("bed:bedden boek:boeken glas:glazen hek:hekken masker:maskers orgel:orgels schrift:schriften")
PEOPLE = words("bakker boer dokter gids kapitein oom schilder tandarts visser zus")
PLURAL_PEOPLE = words("buren gasten kinderen koks reizigers studenten")
NAMES = words("Anna Bart Claudia Daniel Femke Gijs Ingrid Jasper Olga Sophie Thijs Wouter")
PLACES = words("Antwerpen Breda Delft Eindhoven Groningen Leuven Maastricht Utrecht Zwolle")
SPOTS = phrases("aan de haven|achter de kerk|bij de molen|in de tuin|naast het station|op het plein")
TIMES = phrases("vandaag|gisteren|vannacht|vorige week|deze zomer|na het eten|op woensdag|heel vroeg|soms|opnieuw")
MONTHS = words("januari februari maart april mei juni juli augustus september oktober november december")

# plain:inflected, as in "een groot huis" and "het grote huis"
ADJECTIVES = words("""
blauw:blauwe duur:dure groen:groene klein:kleine kapot:kapotte lang:lange modern:moderne oud:oude rond:ronde wit:witte
zwaar:zware""")
CHARACTERS = words("aardige beroemde dikke jonge stille vrolijke")

# present singular, past singular, past plural, participle, infinitive: all take an object that can be held
VERBS = [
    words(forms)
    for forms in phrases("""
bewaart bewaarde bewaarden bewaard bewaren|brengt bracht brachten gebracht brengen|koopt kocht kochten gekocht kopen
leent leende leenden geleend lenen|schildert schilderde schilderden geschilderd schilderen
tekent tekende tekenden getekend tekenen|verbergt verborg verborgen verborgen verbergen
zoekt zocht zochten gezocht zoeken""")
]
UNITS = words("een twee drie vier vijf zes zeven acht negen")
TEENS = words("tien elf twaalf dertien veertien vijftien zestien zeventien achttien negentien")
TENS = words("twintig dertig veertig vijftig zestig zeventig tachtig negentig")


def numeral(number: int) -> str:
    """2 to 99 in Dutch words: 27 is "zevenentwintig", 22 "tweeëntwintig"."""
    if number < 10:
        return UNITS[number - 1]
    if number < 20:
        return TEENS[number - 10]
    tens, units = TENS[number // 10 - 2], number % 10
    if not units:
        return tens
    unit = UNITS[units - 1]
    return unit + ("ën" if unit.endswith("e") else "en") + tens


def subject(rng: Random) -> tuple[str, bool]:
    """Who does it, and whether that is more than one."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(NAMES), False
    if kind == 1:
        first, second = rng.sample(NAMES, 2)
        return f"{first} en {second}", True
    plural = kind == 3
    words = [rng.choice(["de", "mijn", "haar", "onze", "hun"]), rng.choice(PLURAL_PEOPLE if plural else PEOPLE)]
    if rng.random() < 0.6:
        words.insert(1, rng.choice(CHARACTERS))
    return " ".join(words), plural


def thing(rng: Random) -> str:
    """What it is done to: "een groen hemd", "de hete ketel", "zevenentwintig lampen"."""
    neuter = rng.random() < 0.4
    singular, plural = rng.choice(HET_THINGS if neuter else DE_THINGS).split(":")
    plain, inflected = rng.choice(ADJECTIVES).split(":")
    kind = rng.randrange(3)
    if kind == 0:
        words = ["een", plain if neuter else inflected, singular]
    elif kind == 1:
        words = ["het" if neuter else "de", inflected, singular]
    else:
        words = [numeral(rng.randrange(2, 100)), inflected, plural]
    if rng.random() < 0.3:
        del words[1]
    return " ".join(words)


def moment(rng: Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return f"op {numeral(rng.randrange(2, 31))} {rng.choice(MONTHS)}"
    if kind == 1:
        return f"om {rng.choice(['', 'half ', 'kwart voor ', 'kwart over '])}{numeral(rng.randrange(2, 13))}"
    return rng.choice(TIMES)


def where(rng: Random) -> str:
    return rng.choice(SPOTS) if rng.random() < 0.5 else f"in {rng.choice(PLACES)}"


def sentence(rng: Random) -> str:
    """One Dutch sentence with capital and full stop or question mark, all randomness from `rng`."""
    who, plural = subject(rng)
    what, when, place = thing(rng), moment(rng), where(rng)
    present, past, pasts, participle, infinitive = rng.choice(VERBS)
    does, did, has = (infinitive, pasts, "hebben") if plural else (present, past, "heeft")
    other = rng.choice(NAMES)
    shapes = [
        f"{who} {does} {what} {place}.",
        f"{who} {did} {when} {what}.",
        f"{who} {has} {when} {what} {participle}.",
        f"{when} {did} {who} {what} {place}.",
        f"{place} {does} {who} {what}.",
        f"{has} {who} {what} {participle}?",
        f"waarom {does} {who} {when} {what}?",
        f"{other} zegt dat {who} {what} {does}.",
        f"{other} vraagt of {who} {when} {what} {does}.",
        f"{who} {did} {what} en {thing(rng)} {place}.",
    ]
    text = rng.choice(shapes)
    return text[0].upper() + text[1:]


def distinct_sentences(rng: Random, count: int) -> list[str]:
    """`count` sentences no two of which are the same."""
    found: dict[str, None] = {}  # a set that keeps its order
    while len(found) < count:
        found[sentence(rng)] = None
    return list(found)

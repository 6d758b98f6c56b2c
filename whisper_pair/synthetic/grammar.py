"""A small grammar of Dutch: `sentence(rng)` draws one sentence of about 5 to 15 words.

Its point is variety, not meaning: some hundred nouns, adjectives, names, places, numerals and times in ten sentence
shapes give far more sentences than anybody will ever speak, so a held-out split can be kept wholly unseen, and a model
has to listen because the words before do not tell which word follows. Articles, adjective endings, verb forms and word
order are right: what a main model learns here is a language, if a simple one.
"""

from random import Random


def words(text: str) -> list[str]:
    return text.split()


def phrases(text: str) -> list[str]:
    return text.strip().replace("\n", "|").split("|")


# singular:plural, by article
DE_THINGS = words("""
appel:appels auto:auto's bank:banken bezem:bezems bloem:bloemen boot:boten brief:brieven broek:broeken
deken:dekens doos:dozen emmer:emmers fiets:fietsen fles:flessen gitaar:gitaren hamer:hamers handdoek:handdoeken
hoed:hoeden jas:jassen kaars:kaarsen kachel:kachels kast:kasten ketel:ketels klok:klokken koffer:koffers kom:kommen
krant:kranten kruik:kruiken lamp:lampen lepel:lepels mand:manden munt:munten pan:pannen paraplu:paraplu's pop:poppen
radio:radio's ring:ringen schaar:scharen schoen:schoenen sjaal:sjaals sleutel:sleutels spiegel:spiegels stoel:stoelen
tafel:tafels tas:tassen telefoon:telefoons trommel:trommels trui:truien vaas:vazen vlieger:vliegers vork:vorken
wagen:wagens zaag:zagen zak:zakken""")
HET_THINGS = words("""
bed:bedden beeld:beelden blik:blikken boek:boeken bord:borden brood:broden doek:doeken glas:glazen
gordijn:gordijnen hek:hekken hemd:hemden horloge:horloges cadeau:cadeaus kleed:kleden kussen:kussens laken:lakens
masker:maskers mes:messen net:netten orgel:orgels pakje:pakjes penseel:penselen potlood:potloden raam:ramen
schilderij:schilderijen schrift:schriften slot:sloten tapijt:tapijten toestel:toestellen
touw:touwen vest:vesten wiel:wielen zadel:zadels zwaard:zwaarden""")
PEOPLE = words("""
advocaat agent bakker boer buurman chauffeur dichter dokter fotograaf gids herder ingenieur jongen kapitein
kapper klant kok koningin leraar loodgieter metselaar monteur muzikant notaris oom piloot rechter schilder schipper
schrijver slager smid student tandarts tante timmerman toerist tuinman verkoper verpleegster visser vriendin vrouw
wethouder zanger zus""")
PLURAL_PEOPLE = words("""
agenten bakkers boeren broers buren dokters gasten jongens kinderen klanten koks leerlingen matrozen
meisjes muzikanten ouders reizigers studenten tantes toeristen vissers vrienden zussen""")
NAMES = words("""
Anna Anouk Bart Bram Carla Claudia Daan Daniel Eefje Els Eva Femke Floor Frank Geert Gijs Hanneke Hendrik
Ilse Ingrid Jaap Jasper Joost Karin Kees Koen Laura Lieke Lotte Maarten Marieke Niels Noor Olga Pieter Quinten Roos
Ruben Saskia Sjoerd Sophie Stijn Teun Thijs Tom Ursula Vera Victor Willem Wouter Yvonne""")
PLACES = words("""
Alkmaar Almere Amersfoort Amsterdam Antwerpen Apeldoorn Arnhem Assen Breda Brugge Brussel Delft Deventer
Dordrecht Eindhoven Emmen Enschede Gent Gouda Groningen Haarlem Hasselt Heerlen Helmond Hilversum Hoorn Kampen Kortrijk
Leeuwarden Leiden Lelystad Leuven Lier Maastricht Mechelen Meppel Middelburg Nijmegen Oostende Roermond Rotterdam
Sittard Tilburg Utrecht Venlo Vlissingen Zutphen Zwolle""")
SPOTS = phrases("""
achter de kerk|aan de haven|bij de brug|bij de molen|in de bibliotheek|in de keuken|in de schuur|in de tuin
in het bos|in het museum|in het ziekenhuis|naast het station|onder de trap|op de boerderij|op de markt|op het plein
op het strand|op zolder|tegenover de school|voor het stadhuis""")
TIMES = phrases("""
vandaag|vanmiddag|vanavond|vannacht|gisteren|eergisteren|deze week|vorige week|vorig jaar|deze zomer
in de winter|in het voorjaar|na het eten|voor het ontbijt|tijdens de pauze|elke dag|op zaterdag|op woensdag
op vrijdag|midden in de nacht|rond de middag|heel vroeg|soms|vaak|zelden|opnieuw""")
MONTHS = words("januari februari maart april mei juni juli augustus september oktober november december")

# plain:inflected, as in "een groot huis" and "het grote huis"
ADJECTIVES = words("""
blauw:blauwe breed:brede bruin:bruine duur:dure fraai:fraaie geel:gele gewoon:gewone glad:gladde
goedkoop:goedkope grijs:grijze groen:groene groot:grote heet:hete hoog:hoge kapot:kapotte klein:kleine kort:korte
kostbaar:kostbare krom:kromme laag:lage lang:lange leeg:lege licht:lichte modern:moderne mooi:mooie nat:natte
nieuw:nieuwe oud:oude paars:paarse plat:platte rond:ronde rood:rode scherp:scherpe schoon:schone smal:smalle
stevig:stevige sterk:sterke vies:vieze vreemd:vreemde warm:warme wit:witte zacht:zachte zwaar:zware
zwart:zwarte""")
CHARACTERS = words("""
aardige arme beroemde blije boze brave deftige dikke domme eerlijke handige jonge knappe luie magere
moedige oude rijke slimme stille strenge trotse verlegen vriendelijke vrolijke wijze zieke""")

# present singular, past singular, past plural, participle, infinitive: all take an object that can be held
VERBS = [
    words(forms)
    for forms in phrases("""
bekijkt bekeek bekeken bekeken bekijken|bewaart bewaarde bewaarden bewaard bewaren
brengt bracht brachten gebracht brengen|draagt droeg droegen gedragen dragen
gebruikt gebruikte gebruikten gebruikt gebruiken|kiest koos kozen gekozen kiezen
koopt kocht kochten gekocht kopen|krijgt kreeg kregen gekregen krijgen|leent leende leenden geleend lenen
maakt maakte maakten gemaakt maken|ontdekt ontdekte ontdekten ontdekt ontdekken
pakt pakte pakten gepakt pakken|poetst poetste poetsten gepoetst poetsen|ruilt ruilde ruilden geruild ruilen
schildert schilderde schilderden geschilderd schilderen|steelt stal stalen gestolen stelen
tekent tekende tekenden getekend tekenen|verbergt verborg verborgen verborgen verbergen
vergeet vergat vergaten vergeten vergeten|verkoopt verkocht verkochten verkocht verkopen
verliest verloor verloren verloren verliezen|vindt vond vonden gevonden vinden
wast waste wasten gewassen wassen|weegt woog wogen gewogen wegen|zoekt zocht zochten gezocht zoeken
ziet zag zagen gezien zien""")
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

"""Number words above 20 in French, Spanish and German: the tens, and the scale words."""

import re

_FRENCH = {
    20: "vingt",
    30: "trent",
    40: "quarant",
    50: "cinquant",
    60: "soixant",
    70: "soixante|septant",
    80: "quatre.vingt|huitant|octant",
    90: "quatre.vingt|nonant",
    100: "cent|siècle",
    1000: "mill",
    10**6: "million",
    10**9: "milliard",
    10**12: "billion",
}
_SPANISH = {
    20: "veint|vigésim",
    30: "treinta|trigésim",
    40: "cuarenta|cuadragésim",
    50: "cincuenta|quincuagésim",
    60: "sesenta|sexagésim",
    70: "setenta|septuagésim",
    80: "ochenta|octogésim",
    90: "noventa|nonagésim",
    100: "cien|quinient|novecient|siglo|centésim",
    1000: "mil",
    10**6: "mill[oó]n",
    10**9: "mil mill|millardo",
    10**12: "bill[oó]n",
}
_GERMAN = {
    20: "zwanzig",
    30: "dreißig|dreissig",
    40: "vierzig",
    50: "fünfzig",
    60: "sechzig",
    70: "siebzig",
    80: "achtzig",
    90: "neunzig",
    100: "hundert",
    1000: "tausend",
    10**6: "million|mio",
    10**9: "milliarde|mrd",
    10**12: "billion",
}
#: Patterns of the stems by language and number. They match within compounds, too.
ABOVE_TWENTY = {
    language: {n: re.compile(words, re.IGNORECASE) for n, words in table.items()}
    for language, table in (("fr", _FRENCH), ("es", _SPANISH), ("de", _GERMAN))
}

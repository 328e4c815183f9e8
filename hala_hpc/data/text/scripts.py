"""Extract the letters of a text and match them with the scripts of languages.

The table assigns each language the script of CLDR's likely subtags (`likelySubtags.xml`). Serbian
has Latin as well, as it is written in both, and Japanese its three. Codes are ISO 639 in the form
of fastText's lid.176, the model of `language`. Some codes that the model does not know are
detected by script alone. A language that is not listed has no script here: the model decides.
"""

import re
from functools import cache
from typing import Any

#: Languages by the Unicode name of their script.
_SCRIPTS = {
    "Arabic": "ar arz azb ckb fa ks lrc mzn pnb prs ps sd ug ur",
    "Armenian": "hy",
    "Bengali": "as bn bpy",
    "Cyrillic": "ab av ba be bg ce cv kk kv ky mhr mk mn os ru sah sr tg tt uk",
    "Devanagari": "bh brx doi dty gom hi mai mr ne new sa",
    "Ethiopic": "am ti",
    "Georgian": "ka xmf",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Han": "ja wuu yue zh",
    "Hangul": "ko",
    "Hebrew": "he yi",
    "Hiragana": "ja",
    "Kannada": "kn",
    "Katakana": "ja",
    "Khmer": "km",
    "Lao": "lo",
    "Latin": "af az ast br bs ca ceb co cs cy da de en eo es et eu fi fr fy ga gd gl gn ha hr ht"
    " hu ia id ig ilo io is it jv la lb lt lv mg mi ms mt nb nl nn no oc pl pt qu rm ro rw sc sh"
    " sk sl sm sn so sq sr st su sv sw tk tl tr uz vi war wo xh yo zu",
    "Malayalam": "ml",
    "Myanmar": "my",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thaana": "dv",
    "Thai": "th",
    "Tibetan": "bo dz",
}
_WORD = re.compile(r"[^\W\d_]+")
_NO_ASCII_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


def extract_letters(text: str) -> str:
    """Return only the letters of a text, without diacritics, digits, punctuation and spaces."""
    if text.isascii():
        return text.encode().translate(None, _NO_ASCII_LETTERS).decode()
    return "".join(_WORD.findall(text))


def script_share(text: str, code: str) -> float:
    """Return the share of letters in the scripts of a language, 0 to 1.

    It is 1 if it cannot be computed: no letters, or a language whose script is not listed.
    """
    scripts = script_pattern(primary_subtag(code))
    found = extract_letters(text)
    if not scripts or not found:
        return 1.0
    if found.isascii():
        return float(bool(scripts.match("a")))
    return sum(map(len, scripts.findall(found))) / len(found)


def primary_subtag(code: str) -> str:
    """Return the primary subtag of a language tag, e.g. `pt` of `pt-BR` and `zh` of `zh_Hans`."""
    return re.split("[-_]", code, maxsplit=1)[0].lower()


@cache
def known_codes() -> frozenset[str]:
    """Return the codes of all languages with a listed script."""
    return frozenset(code for codes in _SCRIPTS.values() for code in codes.split())


@cache
def script_names(code: str) -> tuple[str, ...]:
    """Return the Unicode names of the scripts of a language; none if it is not listed."""
    return tuple(name for name, codes in _SCRIPTS.items() if code in codes.split())


@cache
def script_pattern(code: str) -> Any:
    """Return a pattern for runs of letters in the scripts of a language; None if not listed."""
    import regex  # type: ignore[import-untyped]  # supports Unicode scripts; `re` does not

    names = script_names(code)
    if not names:
        return None
    return regex.compile("[" + "".join(rf"\p{{sc={name}}}" for name in names) + "]+")


@cache
def _lone_languages() -> tuple[tuple[str, Any], ...]:
    """Return the languages that are the only ones of their script, e.g. Greek and Thai."""
    lone = [codes for codes in _SCRIPTS.values() if " " not in codes]
    return tuple((code, script_pattern(code)) for code in lone if code != "ja")


def detect_by_script(found: str) -> str:
    """Return the language that alone uses the script of these letters; "" if there is none."""
    if len(found) < 2 or found.isascii():
        return ""
    first = found[0]
    for code, pattern in _lone_languages():
        if pattern.match(first):
            return code if script_share(found, code) > 0.8 else ""
    return ""


def select_words_in_scripts(text: str, code: str) -> str:
    """Return the words with letters of a language's scripts: foreign names mislead a model."""
    scripts = script_pattern(code)
    if scripts is None:
        return text
    return " ".join(word for word in text.split() if scripts.search(word))

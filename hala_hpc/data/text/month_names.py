"""Names of the months, by which a date may be written.

The names are those of Unicode CLDR's Gregorian calendar. Arabic has two sets, those of `ar` and of
`ar-SY`, and `ar-DZ` has French ones.
"""

import re
from functools import cache

#: Twelve entries each, January first; in Arabic in the form of `normalize_arabic`.
_NAMES = {
    "en": "jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? aug(?:ust)?"
    " sept?(?:ember)? oct(?:ober)? nov(?:ember)? dec(?:ember)?",
    "ar": "يناير|جانفي|كانون_الثاني فبراير|فيفري|شباط مارس|اذار ابريل|افريل|نيسان مايو|ماي|ايار"
    " يونيو|يونيه|جوان|حزيران يوليو|يوليه|جويليه|تموز اغسطس|اوت|اب سبتمبر|ايلول"
    " اكتوبر|تشرين_الاول نوفمبر|تشرين_الثاني ديسمبر|كانون_الاول",
    "fr": "janv(?:ier)? févr(?:ier)? mars avr(?:il)? mai juin juil(?:let)? août sept(?:embre)?"
    " oct(?:obre)? nov(?:embre)? déc(?:embre)?",
    "es": "ene(?:ro)? feb(?:rero)? mar(?:zo)? abr(?:il)? mayo? jun(?:io)? jul(?:io)? ago(?:sto)?"
    " sept?(?:iembre)? oct(?:ubre)? nov(?:iembre)? dic(?:iembre)?",
    "de": "jan(?:uar)?|jänner feb(?:ruar)? märz apr(?:il)? mai juni? juli? aug(?:ust)?"
    " sept?(?:ember)? okt(?:ober)? nov(?:ember)? dez(?:ember)?",
}


def has_month_name(month: int, plain_text: str, language: str) -> bool:
    """Whether a text has the name of a month, 1 to 12; Arabic as `normalize_arabic` returns it.

    It is false for languages without a table here.
    """
    if language not in _NAMES or not 1 <= month <= 12:
        return False
    return _pattern(month, language).search(plain_text) is not None


@cache
def _pattern(month: int, language: str) -> re.Pattern[str]:
    names = _NAMES[language].split()[month - 1].replace("_", " ")
    prefix = "[وفبلك]*" if language == "ar" else ""
    return re.compile(rf"\b{prefix}(?:{names})\b", re.IGNORECASE)

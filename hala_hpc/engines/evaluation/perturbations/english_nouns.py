"""Code-switching: English nouns in Arabic texts, from a list of frequent nouns of exams."""

import random
import re
from collections.abc import Mapping

#: Written by us: nouns that occur in questions of schools and universities. A form stands for
#: itself and with the article; other inflections are not found.
PAIRS = """
ماء water, هواء air, نار fire, أرض earth, شمس sun, قمر moon, ضوء light, صوت sound,
حرارة heat, طاقة energy, قوة force, كتلة mass, سرعة speed, زمن time, مسافة distance,
ضغط pressure, خلية cell, دم blood, قلب heart, دماغ brain, جسم body, مرض disease,
طبيب doctor, مريض patient, دواء drug, غذاء food, نبات plant, حيوان animal, إنسان human,
طفل child, أسرة family, مجتمع society, دولة state, حكومة government, قانون law, حق right,
محكمة court, عقد contract, جريمة crime, حرب war, سلام peace, تاريخ history,
جغرافيا geography, اقتصاد economy, سوق market, سعر price, مال money, شركة company,
بنك bank, عميل customer, إدارة management, خطة plan, مشروع project, عمل work,
موظف employee, لغة language, كلمة word, جملة sentence, نص text, كتاب book, معلم teacher,
طالب student, مدرسة school, جامعة university, سؤال question, جواب answer, مثال example,
عدد number, رقم digit, معادلة equation, زاوية angle, دائرة circle, مثلث triangle,
حاسوب computer, برنامج program, شبكة network, ملف file, ذاكرة memory, شاشة screen,
هاتف phone, سيارة car, طريق road, مدينة city, قرية village, بحر sea, نهر river,
جبل mountain, مناخ climate, مطر rain, حديد iron, ذهب gold, نفط oil
"""
ENGLISH_NOUNS: Mapping[str, str] = dict(pair.split() for pair in PAIRS.split(","))
#: A conjunction or preposition, the article, and a noun of the list.
NOUN = re.compile(rf"(?<!\w)([وفبكل]?)(ال)?({'|'.join(ENGLISH_NOUNS)})(?!\w)")


def swap_nouns(text: str, share: float, drawn: random.Random) -> str:
    """The text with English in the place of a share of the nouns in the list.

    Prefix and article stay before it, joined by a tatweel, as in "الـ book".
    """

    def swap(found: re.Match[str]) -> str:
        if drawn.random() >= share:
            return found[0]
        before = f"{found[1]}{found[2] or ''}"
        return f"{before}\u0640 {ENGLISH_NOUNS[found[3]]}" if before else ENGLISH_NOUNS[found[3]]

    return NOUN.sub(swap, text)

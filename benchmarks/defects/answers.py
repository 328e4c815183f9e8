"""Phrases of answers with more than was asked, and wrong forms of numbers, for the makers.

Tuning uses every other one of each list, the measurement uses the rest.
"""

#: Kinds of texts before a translation, with their texts.
BEFORE = {
    "label_dash": ["Arabic translation - ", "الترجمة العربية - ", "Translation – ", "الترجمة – "],
    "label_bracket": ["[Arabic] ", "(Translation) ", "[الترجمة] ", "(النص المترجم) "],
    "label_arrow": ["Arabic -> ", "Translation => ", "العربية → ", "الترجمة = "],
    "label_result": ["Final answer: ", "الناتج: ", "Translated text: ", "النص المترجم: "],
}
#: The same after it.
AFTER = {
    "bracket_after": [
        " (Translated to Arabic)",
        " (ترجمة حرفية للنص)",
        " (this is a formal translation)",
        " (مترجم من الإنجليزية)",
    ],
    "note_line": [
        "\nEnd of translation",
        "\nنهاية الترجمة",
        "\nLiterally: see above",
        "\nالمعنى الحرفي: كما سبق",
    ],
    "second_line": ["\nنسخة أخرى", "\n\nأو", "\n- بديل", "\n\n\nوغير ذلك"],
    "original_after": [
        " النص الأصلي: غير متاح",
        " Original text: none",
        " المصدر: مجهول",
        " Source: web",
    ],
}
#: A right text and wrong translations of its number; the text ends the source.
NUMBERS = {
    "wrong_fraction": ("Add 1/2 cup.", ["أضف ربع كوب.", "أضف كوبا."]),
    "wrong_ordinal": ("It is the 31st day.", ["إنه اليوم الثلاثون.", "إنه اليوم الأول."]),
    "wrong_clock": ("Come at 7:30.", ["تعال في السابعة.", "تعال في السابعة تماما."]),
    "wrong_hour": ("Come at 7:40 pm.", ["تعال الساعة 18:40.", "تعال الساعة 20:40 مساء."]),
    "wrong_month": ("It was on 17/8/2019.", ["كان في 17 يوليو 2019.", "كان في 17 مايو 2019."]),
    "wrong_scale": ("It has 70 million.", ["فيها 70,000.", "فيها 7000 ألف."]),
    "wrong_decade": (
        "From 1940-46 they met.",
        ["التقوا من 1940 إلى 1947.", "التقوا من 1940 إلى 1964."],
    ),
    "wrong_percent": ("About 75% left.", ["رحل ثلثهم.", "رحل سدسهم."]),
}

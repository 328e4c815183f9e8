"""Patterns for what models write instead of or around a translation, in English and Arabic.

The Arabic ones have the form that `normalize_arabic` returns: without diacritics, one form of alef
and ya. Each pattern is a list of alternatives; `_` matches what may be between two words.
"""

import re


def either(*alternatives: str, start: str = r"\b", end: str = "") -> re.Pattern[str]:
    """Compile alternatives into one case-insensitive pattern.

    A space or a new string ends an alternative, also inside of brackets.
    """
    words = " ".join(alternatives).split()
    joined = "|".join(words).replace("_", r"\W+")
    return re.compile(f"{start}(?:{joined}){end}", re.IGNORECASE)


#: The model is not able or willing, or is sorry for it.
UNABLE = either(
    "can['’]?t cannot can_not unable not_able couldn['’]?t could_not won['’]?t will_not refuse",
    "declin must_not not_(?:be_)?(?:comfortable|possible|allowed|permitted|appropriate) afraid",
    "sorry apolog regret unfortunately not_(?:going|in_a_position) (?:do_not|don['’]t)_feel",
)
UNABLE_AR = either(
    "(?:لا|لن|لم|ليس|غير)_(?:\\w+_)?(?:[ان]ستطيع|[ان]ستطع|[ان]تمكن|[ان]قدر|يمكنن[يا]|يمكن_لي",
    "ب?امكان(?:ي|نا)|بمقدور(?:ي|نا)|ب?وسع(?:ي|نا)|باستطاعت(?:ي|نا)|يسع(?:ني|نا)|[ان]ساعد|[ان]ترجم)",
    "(?:لا|لن|غير)_(?:يسمح|مسموح)_(?:لي|لنا)\\b لست_(?:قادر|مخول|متاكد) لا_[ان]ملك",
    "(?:لا|لن|غير)_(?:يمكن|يجوز|يصح|ممكن|ملائم)_(?:ترجم|تلبي|الرد|تقديم|مساعد|معالج)",
    "ا?عتذر نعتذر اسف(?:ون|ه)?\\b عذرا معذره يوسف(?:ني|نا)\\b للاسف ارفض نرفض اعجز",
    "يتعذر_علي تعذر_علي امتنع مع_الاسف",
)
#: Words of a source for which the phrases above are a correct translation.
UNABLE_SOURCE = either(
    "excus pardon forgiv sad alas pity shame impossible incapable unable nobody no_one never fail",
    "refus bad_luck neither without",
)
#: What a model is asked to do.
HELP = either(
    "translat assist help provid compl fulfil continu respond answer generat creat process produc",
    "do_(?:that|this|so) request content render convert engage support discuss text",
)
HELP_AR = either(
    "ترجم مساعد ساعد طلب تلبي الرد\\b الاجاب تقديم انشاء محتو النص\\b تنفيذ امتثال معالج القيام",
    "الاستمرار المتابعه اكمال توليد كتابه سوال استفسار تحويل نقل",
    start="",
)
#: The model calls itself a machine.
MACHINE = either("(?:an?|the)_(?:\\w+_)?(?:AI|artificial|language_model|virtual_assistant)\\b")
MACHINE_AR = either(
    "ك?نموذجا?_(?:ال)?(?:لغ|ذكاء|محادث) ك?ذكاءا?_اصطناعي ك?مساعدا?_(?:افتراض|ذكي|رقم|اصطناع)",
    "(?:بصفتي|كوني|باعتباري|بوصفي)_(?:مجرد_)?(?:نموذج|مساعد|ذكاء|برنامج|روبوت|نظام)",
)
MACHINE_SOURCE = either("AI\\b artificial intelligen language_model assistant chat robot machine")

#: The subject of a comment on a translation.
ABOUT = either("translat", "in_arabic arabic_(?:version|text|translation) rendered rendering")
ABOUT_AR = either(
    "[بولك]*(?:ال)?ترجم م?ترجم تعريب (?:بال|الي_ال|لل)لغه_العربي بالعربيه الي_العربيه للعربيه",
    "(?:ال)?نسخه_العربيه (?:ال)?نص_(?:ال)?عربي (?:ال)?مقابل_العربي",
)
#: Subtitles and versions are translations, too.
ABOUT_SOURCE = either(
    "translat arabic subtitl interpret locali[sz] languages? caption render version dubb",
)
#: How an assistant starts to speak, and how it announces what follows.
CHAT = either(
    "sure certainly of_course absolutely okay ok gladly no_problem happy_to (?:i['’]d|glad)",
    "understood got_it alright here_you_go",
    start=r"[\W_]*",
    end=r"\b",
)
CHAT_AR = either(
    "بكل_ترحيب من_دواعي_سروري يسرني_(?:ان|مساعد|ترجم)",
    "بالتاكيد بالطبع طبعا حسنا بكل_سرور اكيد علي_الرحب يسعدني بكل_تاكيد نعم_بالتاكيد",
    start=r"[\W_]*",
    end=r"\b",
)
CHAT_SOURCE = either(
    "sure certain course absolute okay ok glad gladly no_problem happy pleas natural obvious",
    "absolutely well al\\W?right right yes yeah yep definite indeed great good welcome fine",
    "very_well so aye hm+ by_all_means let['’]?s now ah oh understood got_it no_worries awesome",
    "perfect excellent roger look anyway agreed positive true clear fair exact delight pleasure",
    "gotcha see honou?r love nice enjoy thrilled",
    start=r"[\W_]*(?:\w+[\W_]+){0,4}?",
)
POINTING = either(
    "here_(?:is|are|you) here['’]s below_is the_following", start=r"[\W_]*", end=r"\b"
)
POINTING_AR = either("تفضل اليكم? فيما_يلي هذه_هي هذا_هو ادناه", start=r"[\W_]*", end=r"\b")
POINTING_SOURCE = either(
    "here below follow this these that those next take have there now it its such consider look",
    "see give list behold voil",
)
#: What a model writes before a colon.
LABEL = either(
    "(?:in_)?arabic english target (?:the_)?transl\\w+(?:_text)? final_translation",
    "(?:final_)?(?:answer|output|result|response) arabic_(?:text|version|translation)",
    "(?:translation|translated)_(?:in|to|into)_arabic",
    "(?:ال)?ترجمه(?:_العربيه)? بالعربيه (?:ب?ال)?عربيه (?:ال)?نص_(?:ال)?(?:مترجم|عربي)",
    "(?:ال)?ترجمه_(?:الي|بال|لل)\\w*(?:_العربيه)? (?:ال)?(?:ناتج|نتيجه|مخرجات|اجابه)",
    start=r"[\W_]*",
    end=r"[\W_]*$",
)
#: How a remark after a translation starts: a heading, or an assistant's closing words.
NOTE = either(
    "(?:(?:translator['’]?s?_|translation_|important_)?notes?|n\\.?b|p\\.?s|explanation|disclaimer)\\W*:",
    "please_note let_me_know i_hope hope_this feel_free do_you_want would_you_like",
    "if_you_(?:need|have|want|would) is_there_anything (?:this|the)_(?:is_(?:a|the)_)?translation",
    "translated_(?:in|to|from|by|as|with|using|text) (?:arabic|literal|direct|formal)_translation",
    "(?:an?_)?(?:alternative|literal|other|possible)(?:ly|_translations?|_versions?)?\\W*:",
    "literally\\b",
    "(?:original|source)(?:_(?:text|sentence|english))?\\W*: (?:transliteration|pronunciation)\\b",
    "(?:i|we)(?:_have|['’]ve)?_(?:translated|rendered)",
    "(?:i|we)(?:_have|['’]ve)?_(?:kept|left|preserved)_the_(?:\\w+_)?(?:terms?|names?|words?|meaning)",
    "end_of_(?:the_)?translation translation_(?:ends|complete) as_(?:you_)?request",
    "the_(?:above|original|following)_(?:is|was|text|sentence|translation) in_english\\W*:",
    start=r"[\W_]*",
)
NOTE_AR = either(
    "(?:ملاحظ|ملحوظ|تنويه|تنبيه|توضيح|تعليق|شرح|هامش)\\w*(?:_\\w+){0,2}\\s*: للعلم يرجي_ملاحظه",
    "يرجي_العلم اتمني امل_ان",
    "ارجو_ان اخبرني لا_تتردد اذا_كنت_(?:تحتاج|ترغب|تريد|تود|بحاجه) اذا_كان_لديك هل_(?:ترغب|تريد)",
    "ان_كنت_(?:تحتاج|ترغب|تريد|تود|بحاجه) هل_(?:تحتاج|هناك|لديك) لقد_ترجمت تمت?_(?:ال)?ترجم",
    "(?:ال)?ترجم\\w*_(?:من|الي|بواسطه|حرفي|بديل|اخري|اصلي) مترجمه?_(?:من|الي|بواسطه|عن)",
    "(?:ال)?نص_(?:ال)?(?:اصلي|انجليزي|مترجم)\\w*\\s*: (?:ال)?(?:اصل|مصدر|نطق|بديل)\\s*: حرفيا",
    "(?:ال)?معني_(?:ال)?حرفي نهايه_(?:ال)?(?:ترجم|نص) انتهي_(?:ال)?(?:نص|ترجم) قمت_ب(?:ال)?ترجم",
    "لقد_(?:قمت_ب|حافظت_علي|ابقيت_علي|تركت_ال(?:اسم|مصطلح|نص))",
    "تم_(?:الابقاء|الحفاظ)_علي ب(?:ال)?انجليزيه\\s*:",
    "انتهت_الترجم هذه_(?:هي_)?(?:ال)?ترجم ترجمه?_حرفيه ترجمت",
    start=r"[\W_]*",
)
NOTE_SOURCE = either(
    "not(?:e|ing|ice|ed|es|ices)\\b n\\.b nb\\b p\\.s remark comment observ warn caution alert",
    "attention caveat expla clarif annotat footnote hop(?:e|ing) wish tell_me let_(?:me|us) free",
    "hesitat if_you do_you would_you is_there are_there any_(?:other|more|further) tip\\b hint",
    "important disclaim remind please keep_in_mind trust may\\b pray margin have_you if\\b say",
    "look(?:ing)?_forward would_like expect want shy afraid talk speak should_you in_case caption",
    "rationale reason descri literal original source alternativ transliterat pronounc pronunc",
    "finish_with translat kept retain preserv english",
)

#: Tokens of chat templates, and the fields `{text}` and so on of this package's prompts.
TEMPLATE_TOKENS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^<>\n]{1,40}｜>|</?s>|<<?/?SYS>>?|<0x[0-9A-Fa-f]{2}>"
    r"|\[/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS|PAD|UNK|CLS|SEP|MASK|BOS|EOS)\]"
    r"|</?(?:start|end)_of_(?:turn|text)>|</?(?:pad|unk|eos|bos|mask|think(?:ing)?|reasoning|answer"
    r"|response|translation|source|target|output|input|assistant|user|system|tool_call|im_start"
    r"|im_end|extra_id_\d+)\s*>|\bim_(?:start|end)\b|endoftext|[▁�]|\{(?:text|source|target)\}",
    re.IGNORECASE,
)
#: Role headers, alone on a line or before a colon, and any heading of that form.
ROLES = re.compile(
    r"[#*\s]*(?:user|assistant|system|human|bot|ai|model|instruction|response|input|output|المستخدم"
    r"|المساعد|النظام|التعليمات|الاستجابة|الإدخال|الرد|الإجابة|البشري?|الإنسان)[ \t*]*(?::|$)",
    re.IGNORECASE,
)
HEADERS = re.compile(r"[#*\s]*[^\W\d_]+(?:[ -]\w+){0,2}[ \t*]*(:|$)")

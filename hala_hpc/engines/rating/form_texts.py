"""What a form says to raters, in the languages that it has."""

from dataclasses import asdict, dataclass

from hala_hpc.core.errors import UserError


@dataclass(frozen=True)
class FormTexts:
    """The texts of a form in one language."""

    direction: str
    title: str
    task: str
    scale: str
    storage: str
    no_storage: str
    rater: str
    source: str
    output: str
    score: str
    comment: str
    empty: str
    previous: str
    next: str
    unrated: str
    download: str
    need_name: str
    progress: str
    """With `{at}`, `{all}` and `{done}`."""

    def to_values(self) -> dict[str, str]:
        """All texts by name."""
        return asdict(self)


FORM_TEXTS = {
    "en": FormTexts(
        direction="ltr",
        title="Rate translations and answers",
        task=(
            "Read the source, then give every output a score by how well it gives the meaning of "
            "the source, or answers it, in good language. Who or what made an output is hidden, "
            "and changes from item to item. Outputs that are equally good get equal scores."
        ),
        scale=(
            "0: no meaning is preserved. 33: some of it, with serious mistakes. 66: nearly all of "
            "it, with small mistakes. 100: perfect."
        ),
        storage=(
            "Scores are stored in this browser after every change: you can close the page and go "
            "on later. At the end, or at any time, download your ratings and send the file back."
        ),
        no_storage=(
            "This browser does not store the scores: download your ratings before you close the "
            "page."
        ),
        rater="Your name or pseudonym",
        source="Source",
        output="Output",
        score="Score, 0 to 100",
        comment="Comment (optional)",
        empty="(empty)",
        previous="Previous",
        next="Next",
        unrated="Next without a score",
        download="Download my ratings",
        need_name="Write your name or pseudonym first.",
        progress="Item {at} of {all}; {done} complete",
    ),
    "ar": FormTexts(
        direction="rtl",
        title="تقييم الترجمات والإجابات",
        task=(
            "اقرأ النص المصدر، ثم أعطِ كل ناتج درجة بحسب جودة نقله لمعنى المصدر أو إجابته عنه بلغة "
            "سليمة. مَن أنتج كل نص مخفيّ، ويتغيّر ترتيب النواتج من بند إلى آخر. النواتج المتساوية "
            "في الجودة تأخذ درجات متساوية."
        ),
        scale=(
            "٠: لم يُنقل المعنى إطلاقًا. ٣٣: نُقل بعضه مع أخطاء جسيمة. ٦٦: نُقل معظمه مع أخطاء "
            "بسيطة. ١٠٠: ممتاز بلا أخطاء."
        ),
        storage=(
            "تُحفظ الدرجات في هذا المتصفح بعد كل تغيير: يمكنك إغلاق الصفحة والمتابعة لاحقًا. في "
            "النهاية، أو في أي وقت، نزّل تقييماتك وأرسل الملف."
        ),
        no_storage="هذا المتصفح لا يحفظ الدرجات: نزّل تقييماتك قبل إغلاق الصفحة.",
        rater="اسمك أو اسم مستعار",
        source="المصدر",
        output="الناتج",
        score="الدرجة، من ٠ إلى ١٠٠",
        comment="تعليق (اختياري)",
        empty="(فارغ)",
        previous="السابق",
        next="التالي",
        unrated="التالي بلا درجة",
        download="تنزيل تقييماتي",
        need_name="اكتب اسمك أو اسمًا مستعارًا أولًا.",
        progress="البند {at} من {all}؛ اكتمل {done}",
    ),
}


def require_form_language(language: str) -> str:
    """The language, if the forms have it. Raises: UserError."""
    if language and language not in FORM_TEXTS:
        raise UserError(f"language={language}: write one of {', '.join(FORM_TEXTS)}")
    return language

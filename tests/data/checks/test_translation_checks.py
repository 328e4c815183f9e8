"""Each kind of translation fault is detected, and good translations pass."""

import pytest
from pydantic import ValidationError

from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.checks.translation import OutputChecks

LONG = (
    "The old city was quiet that morning, and people walked slowly toward the big market, where"
    " fruits and cloth are sold. The boy asked his father why they did not buy some dates. The"
    " father smiled and said that the price had gone up since last week."
)
LONG_AR = (
    "كانت المدينة القديمة هادئة في ذلك الصباح، وكان الناس يمشون ببطء نحو السوق الكبير حيث تباع"
    " الفواكه والأقمشة. سأل الولد أباه لماذا لا يشتريان بعض التمر. ابتسم الأب وقال إن السعر ارتفع"
    " منذ الأسبوع الماضي."
)
OPEN = "Open the file before you start the program."
OPEN_AR = "افتح الملف قبل أن تشغل البرنامج."

DEFECTS = [
    ("empty", OPEN, ""),
    ("empty", OPEN, " \n"),
    ("empty", OPEN, "..."),
    ("template_leak", OPEN, OPEN_AR + "<|im_end|>"),
    ("template_leak", OPEN, OPEN_AR + "</s>"),
    ("template_leak", OPEN, "[INST] " + OPEN_AR),
    ("template_leak", OPEN, "assistant\n" + OPEN_AR),
    ("template_leak", OPEN, OPEN_AR + "\n\nالمستخدم: شكرا"),
    ("refusal", OPEN, "I'm sorry, but I can't translate this."),
    ("refusal", OPEN, "As an AI language model, I have no opinion about it."),
    ("refusal", OPEN, "عذرًا، لا أستطيع المساعدة في هذا الطلب."),
    ("refusal", OPEN, "بصفتي نموذجًا لغويًا، ليس لدي رأي في ذلك."),
    ("comment", OPEN, "Translation: " + OPEN_AR),
    ("comment", OPEN, "الترجمة:\n" + OPEN_AR),
    ("comment", OPEN, "بالتأكيد! إليك النص المترجم:\n" + OPEN_AR),
    ("comment", OPEN, OPEN_AR + "\n\nملاحظة: هذه ترجمة حرفية."),
    ("comment", OPEN, OPEN_AR + "\n\nLet me know if you need anything else."),
    ("copied", OPEN, OPEN),
    ("copied", OPEN, OPEN.upper()),
    ("copied", OPEN, f"{OPEN}\n{OPEN_AR}"),
    ("wrong_language", OPEN, "Ouvrez le fichier avant de lancer le programme."),
    ("wrong_language", OPEN, "پیش از اجرای برنامه، پرونده را باز کنید."),
    ("wrong_language", OPEN, "Öffnen Sie die Datei, bevor Sie das Programm starten."),
    ("wrong_language", OPEN, "eftah el malaf abl ma tshaghal el barnamig."),
    ("script", LONG, LONG[: len(LONG) // 2] + LONG_AR[len(LONG_AR) // 2 :]),
    ("script", OPEN, "افتح 文件 قبل أن تشغل البرنامج."),
    ("script", OPEN, "افتح الملف قبل أن тест البرنامج."),
    ("repetition", OPEN, OPEN_AR + " البرنامج" * 20),
    ("repetition", OPEN, OPEN_AR + " قبل أن تشغل البرنامج" * 4),
    ("repetition", OPEN, f"{OPEN_AR}\n{OPEN_AR}"),
    ("repetition", OPEN, OPEN_AR + "ههههههههههههههههههه"),
    ("placeholders", "Open %s now.", "افتح الآن."),
    ("placeholders", "Open {name} now.", "افتح {الاسم} الآن."),
    ("placeholders", "Run `make all` first.", "شغل `make  all` أولا."),
    ("placeholders", "We know that $x^2 = 4$ here.", "نعلم أن $x^2 = 5$ هنا."),
    ("placeholders", OPEN, "افتح {file} قبل أن تشغل البرنامج."),
    ("markup", "<b>Open</b> it.", "<b>افتح</ b> الملف."),
    ("markup", "**Open** the file.", "افتح الملف."),
    ("markup", "# Open the file", "افتح الملف"),
    ("markup", "- one thing\n- another thing", "شيء، وشيء آخر"),
    ("markup", "| name | place |\n| Ali | Cairo |", "| الاسم | المكان |\nعلي، القاهرة"),
    ("markup", OPEN, "افتح الملف\\nقبل أن تشغل البرنامج."),
    ("markup", OPEN, "افتح الملف<br>قبل أن تشغل البرنامج."),
    ("numbers", "It costs 25 pounds in 1999.", "كان سعره 25 جنيها."),
    ("numbers", "It costs 25 pounds.", "سعره 52 جنيها."),
    ("numbers", "It costs 3.14 pounds.", "سعره 31.4 جنيها."),
    ("numbers", "There are 7 days left.", "بقيت أيام."),
    ("numbers", OPEN, "افتح 3 ملفات قبل أن تشغل البرنامج."),
    ("length_ratio", LONG, LONG_AR[: len(LONG_AR) // 3]),
    ("length_ratio", OPEN, LONG_AR),
]

CLEAN = [
    (OPEN, OPEN_AR),
    (LONG, LONG_AR),
    # Short texts, names, numbers and code may stay as they are.
    ("", ""),
    ("OK", "OK"),
    ("42", "٤٢"),
    ("VLC", "VLC"),
    ("Microsoft Visual Studio", "Microsoft Visual Studio"),
    ("Ibn Battuta", "ابن بطوطة"),
    ("GIS", "GIS"),
    ("for i in range(10): print(i)", "for i in range(10): print(i)"),
    ("```\nopen the file\n```", "```\nopen the file\n```"),
    ("https://example.org/open the file", "https://example.org/open افتح الملف"),
    # Numbers: other digits, separators, words, scales, the dual, decades.
    ("It costs 1,234.50 pounds.", "سعره ١٬٢٣٤٫٥ جنيها."),
    ("I bought 3 books for 2 friends.", "اشتريت ثلاثة كتب لصديقين."),
    ("There are three books.", "يوجد 3 كتب."),
    ("A dozen eggs cost 5 million pounds.", "12 بيضة سعرها 5,000,000 جنيه."),
    ("He wrote 25 letters in the 1990s.", "كتب خمسة وعشرين رسالة في التسعينيات."),
    ("Meet me at 10:00 on day 1.", "قابلني في الساعة 10 في اليوم الأول."),
    ("a 3D film", "فيلم ثلاثي الأبعاد"),
    # Markup and placeholders that were returned in another order or with other bullets.
    ("**Open** %s and <i>close</i> {b}.", "<i>أغلق</i> {b} و**افتح** %s."),
    ("- one thing\n- two things", "• شيء\n• شيئان"),
    ("1. Open it.\n2. Close it.", "١- افتحه.\n٢- أغلقه."),
    ("# Title\n\n> quoted *words*", "# عنوان\n\n> *كلمات* مقتبسة"),
    # Looks like a remark, but is in the source.
    ("I'm sorry, but I can't help you.", "عذرًا، لا أستطيع مساعدتك."),
    ("Excuse me, could you help me?", "عذرًا، هل يمكنك مساعدتي؟"),
    ("Unfortunately the request failed.", "للأسف فشل الطلب."),
    ("What is artificial intelligence?", "ما هو الذكاء الاصطناعي؟"),
    ("As a teacher, I answer questions.", "بصفتي معلما، أجيب عن الأسئلة."),
    ("Of course! Here is the list:\nbread, milk", "بالطبع! إليك القائمة:\nخبز، حليب"),
    ("Well, it is late.", "حسنًا، الوقت متأخر."),
    ("Translate this into French: hello", "ترجم هذا إلى الفرنسية: مرحبا"),
    ("Choose the subtitle language:\nArabic", "اختر لغة الترجمة:\nالعربية"),
    ("It works. Note: it is slow.", "إنه يعمل. ملاحظة: إنه بطيء."),
    ("Come in. Want some tea?", "تفضل. هل تريد بعض الشاي؟"),
    ("Directions:\nMix it well.", "التعليمات:\nاخلطه جيدا."),
    ("User: hello\nAssistant: hi", "المستخدم: مرحبا\nالمساعد: أهلا"),
    ("The token <|im_end|> ends a turn.", "ينهي الرمز <|im_end|> الدور."),
    # Repetition that the source has as well.
    ("Ha ha ha ha ha ha, very funny!", "ها ها ها ها ها ها، مضحك جدا!"),
    ("Row, row, row your boat, row, row, row!", "جدف، جدف، جدف قاربك، جدف، جدف، جدف!"),
    # Names in Latin letters.
    ("VLC can stream with RTP and RTSP.", "يستطيع VLC البث عبر RTP و RTSP."),
    ("قل مرحبا", "قل مرحبا"),
]


@pytest.fixture(scope="module")
def checks() -> OutputChecks:
    return OutputChecks(CheckSettings(), "en", "ar")


@pytest.mark.parametrize(("reason", "source", "translation"), DEFECTS)
def test_a_defect_is_found_with_its_reason(
    checks: OutputChecks, reason: str, source: str, translation: str
) -> None:
    assert checks.fault(source, translation) == reason


@pytest.mark.parametrize(("source", "translation"), CLEAN)
def test_a_good_translation_has_no_fault(
    checks: OutputChecks, source: str, translation: str
) -> None:
    assert checks.fault(source, translation) == ""


@pytest.mark.parametrize(
    ("source", "target", "text", "translation"),
    [
        ("ar", "en", LONG_AR, LONG),
        ("ar", "en", OPEN_AR, OPEN),
        ("en", "de", OPEN, "Öffnen Sie die Datei, bevor Sie das Programm starten."),
        ("en", "fr", "There are 12 cats.", "Il y a 12 chats."),
        ("en", "zh", OPEN, "启动程序之前先打开文件。"),
        ("en", "ru", "There are 3 books.", "Есть три книги."),
    ],
)
def test_other_languages_have_no_fault(
    source: str, target: str, text: str, translation: str
) -> None:
    assert OutputChecks(CheckSettings(), source, target).fault(text, translation) == ""


def test_a_copy_and_a_third_language_are_detected_within_one_script() -> None:
    checks = OutputChecks(CheckSettings(), "en", "de")
    assert checks.fault(OPEN, OPEN) == "copied"
    french = "Ouvrez le fichier avant de lancer le programme, puis attendez un peu."
    assert checks.fault(OPEN, french) == "wrong_language"
    assert OutputChecks(CheckSettings(), "ar", "en").fault(OPEN_AR, OPEN_AR) == "copied"


def test_the_glossary_is_required_in_the_translation() -> None:
    settings = CheckSettings(glossary={"Hala": "هالة", "river": "نهر"})
    checks = OutputChecks(settings, "en", "ar")
    assert checks.fault("Hala went home.", "ذهبت حلا إلى البيت.") == "glossary"
    assert checks.fault("The River is wide.", "الوادي واسع.") == "glossary"
    assert checks.fault("Hala saw the river.", "ورأت هالَة النهر.") == ""
    assert checks.fault("Halal food", "طعام حلال") == ""


def test_a_check_can_be_left_out() -> None:
    pair = ("It costs 25 pounds.", "سعره 52 جنيها.")
    assert OutputChecks(CheckSettings(disabled=["numbers"]), "en", "ar").fault(*pair) == ""


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(ValidationError):
        CheckSettings.model_validate({"disabled": ["nonsense"]})

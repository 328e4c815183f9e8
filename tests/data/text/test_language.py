"""The language of a text is detected."""

import pytest

from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import extract_letters, script_share


@pytest.fixture(scope="module")
def languages() -> LanguageDetector:
    return LanguageDetector()


SENTENCES = {
    "en": "The children were playing beside the river all day long.",
    "fr": "Les enfants ont joué toute la journée au bord de la rivière.",
    "de": "Die Kinder haben den ganzen Tag am Fluss gespielt.",
    "es": "Los niños jugaron todo el día a la orilla del río.",
    "tr": "Çocuklar bütün gün nehrin kenarında oynadılar.",
    "ar": "لعب الأطفال طوال اليوم بجانب النهر.",
    "fa": "بچه‌ها تمام روز در کنار رودخانه بازی کردند.",
    "ur": "آپ آگے بڑھنے سے پہلے نیچے دی گئی فہرست سے کوئی دوسری فائل چن سکتے ہیں۔",
    "ru": "Дети весь день играли у реки.",
    "he": "הילדים שיחקו כל היום ליד הנהר.",
    "el": "Τα παιδιά έπαιζαν όλη μέρα δίπλα στο ποτάμι.",
    "hi": "बच्चे सारा दिन नदी के किनारे खेलते रहे।",
    "zh": "孩子们整天都在河边玩耍,直到太阳下山才回家。",
    "ja": "子供たちは一日中川のそばで遊んでいました。",
    "ko": "아이들은 하루 종일 강가에서 놀았습니다.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_known(languages: LanguageDetector, code: str) -> None:
    assert languages.is_language(SENTENCES[code], code) is True


@pytest.mark.parametrize("code", [code for code in SENTENCES if code != "ar"])
def test_no_other_language_is_taken_for_arabic(languages: LanguageDetector, code: str) -> None:
    assert languages.is_language(SENTENCES[code], "ar") is False


@pytest.mark.parametrize(
    "text",
    [
        "إزيك يا باشا عامل ايه النهاردة مش هتيجي معانا",  # Egypt
        "شلونك يا خوي وش اخبارك اليوم عساك طيب",  # the Gulf
        "واش راك خويا لاباس عليك كيفاش داير مع الخدمة",  # Morocco
        "ذَهَبَ الْوَلَدُ إِلَى الْمَدْرَسَةِ فِي الصَّبَاحِ الْبَاكِرِ",
        "يدعم مشغل VLC بروتوكول RTSP عبر الشبكة المحلية",
    ],
)
def test_dialects_diacritics_and_foreign_names_are_arabic(
    languages: LanguageDetector, text: str
) -> None:
    assert languages.is_language(text, "ar") is True


def test_arabic_in_latin_letters_is_not_arabic(languages: LanguageDetector) -> None:
    text = "ana ba7eb el 2ahwa awi w b7eb arou7 el ba7r ma3 as7abi"
    assert languages.is_language(text, "ar") is False


@pytest.mark.parametrize("text", ["", "OK", "123 456", "Tokyo", "\x00", "نعم", "...", "Paris 2024"])
def test_a_short_text_is_left_open(languages: LanguageDetector, text: str) -> None:
    assert languages.is_language(text, "en") is None


def test_half_characters_and_zeros_are_no_hindrance(languages: LanguageDetector) -> None:
    assert languages.is_language(SENTENCES["en"] + " \ud800\0", "en") is True


def test_near_relatives_and_regions_are_the_same_language(languages: LanguageDetector) -> None:
    assert languages.is_language("Anda boleh memilih fail lain daripada senarai ini.", "id")
    assert languages.is_language(SENTENCES["zh"], "zh-Hant") is True
    assert languages.is_language(SENTENCES["en"], "en_GB") is True


def test_a_language_that_the_model_does_not_know_is_left_open(languages: LanguageDetector) -> None:
    assert languages.is_language(SENTENCES["en"], "ha") is None
    assert languages.is_language(SENTENCES["ar"], "ha") is False


def test_the_share_of_a_script_counts_letters_alone() -> None:
    assert script_share("سلام abcd 12.5", "ar") == 0.5
    assert script_share("سلام", "en") == 0.0
    assert script_share("12 %", "ar") == 1.0
    assert script_share("日本の teh", "ja") == 0.5
    assert script_share("anything", "qqq") == 1.0
    assert extract_letters("A-1 ب_c") == "Aبc"

"""Right numbers pass in each of their usual forms, and wrong ones are found."""

import pytest

from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.checks.translation import OutputChecks

RIGHT = [
    # Ordinals.
    ("In the 21st century, people travel more.", "في القرن الحادي والعشرين، يسافر الناس أكثر."),
    ("She was born on the 31st of May.", "ولدت في الحادي والثلاثين من مايو."),
    ("He came 1st in the race.", "جاء أولا في السباق."),
    ("She lives on the 11th floor.", "تسكن في الطبقة الحادية عشرة."),
    ("This is the 41st lesson.", "هذا هو الدرس الحادي والأربعون."),
    ("It is the 600th page.", "إنها الصفحة ستمائة."),
    # Fractions and decimals.
    ("Add 1/2 cup of sugar.", "أضف نصف كوب من السكر."),
    ("Add ½ cup of sugar.", "أضف نصف كوب من السكر."),
    ("Add 1½ cups of sugar.", "أضف كوبا ونصف الكوب من السكر."),
    ("Fill 1/3 of the glass.", "املأ ثلث الكوب."),
    ("Fill 2/3 of the glass.", "املأ ثلثي الكوب."),
    ("Take 3/4 of the bread.", "خذ ثلاثة أرباع الخبز."),
    ("Wait for 2.5 hours.", "انتظر ساعتين ونصف الساعة."),
    ("Wait for 2 1/2 hours.", "انتظر 2.5 ساعة."),
    ("It is 0.25 of the whole.", "إنه ربع الكل."),
    ("About 50% of the people came.", "جاء نحو نصف الناس."),
    # Clock times.
    ("The bus returns at 5:30 PM.", "تعود الحافلة الساعة الخامسة والنصف مساء."),
    ("The bus returns at 17:30.", "تعود الحافلة الساعة 5:30 مساء."),
    ("The bus returns at 5.30pm.", "تعود الحافلة الساعة 17:30."),
    ("The bus returns at 17:45.", "تعود الحافلة الساعة السادسة إلا ربعا مساء."),
    ("The bus returns at 5:15 in the morning.", "تعود الحافلة الساعة الخامسة والربع صباحا."),
    ("The bus returns at 5:20.", "تعود الحافلة في الخامسة والثلث."),
    ("The shop closes at 11 pm.", "يغلق المتجر الساعة 23:00."),
    ("The shop is open 24/7.", "المتجر مفتوح على مدار الساعة."),
    # Scales, separators, years and dates.
    ("It has 2 million people.", "فيها مليونا نسمة."),
    ("It has 2.5 million people.", "فيها مليونان ونصف المليون نسمة."),
    ("It has half a million people.", "فيها 500 ألف نسمة."),
    ("It costs 1.2 billion pounds.", "سعره 1200 مليون جنيه."),
    ("It costs $5bn today.", "سعره اليوم 5,000,000,000 دولار."),
    ("It has 1,00,000 people and 3 schools.", "فيها 100,000 نسمة و3 مدارس."),
    ("It has 10 000 people and three schools.", "فيها 10,000 نسمة و3 مدارس."),
    ("They ruled from 1990-95.", "حكموا من 1990 إلى 1995."),
    ("They met on 5/3/2020.", "التقوا في 5 مارس 2020."),
    ("They met on 5 March 2020.", "التقوا في ٢٠٢٠/٠٣/٠٥."),
    ("It was before World War II.", "كان ذلك قبل الحرب العالمية 2."),
    ("The IC has three pins.", "للدائرة IC عدد 3 أطراف."),
    ("Two dozen eggs broke.", "انكسرت 24 بيضة."),
]
WRONG = [
    ("Add 1/2 cup of sugar.", "أضف كوبا من السكر."),
    ("Add 1/2 cup of sugar.", "أضف ربع كوب من السكر."),
    ("Add 3/4 cup of sugar.", "أضف نصف كوب من السكر."),
    ("The bus returns at 5:30.", "تعود الحافلة الساعة 17:30."),
    ("The bus returns at 5:30.", "تعود الحافلة الساعة الخامسة."),
    ("The bus returns at 5:30 PM.", "تعود الحافلة الساعة 18:30."),
    ("It has 2 million people.", "فيها مليون نسمة."),
    ("It has 2.5 million people.", "فيها مليونا نسمة."),
    ("They ruled from 1990-95.", "حكموا من 1990 إلى 1996."),
    ("They met on 5/3/2020.", "التقوا في 5 أبريل 2020."),
    ("She was born on the 31st of May.", "ولدت في الثلاثين من مايو."),
    ("It was before World War II.", "كان ذلك قبل الحرب العالمية 3."),
    ("About 50% of the people came.", "جاء نحو ثلث الناس."),
]


@pytest.fixture(scope="module")
def checks() -> OutputChecks:
    return OutputChecks(CheckSettings(), "en", "ar")


@pytest.mark.parametrize(("source", "translation"), RIGHT)
def test_a_right_number_passes_in_each_form(
    checks: OutputChecks, source: str, translation: str
) -> None:
    assert checks.fault(source, translation) == ""


@pytest.mark.parametrize(("source", "translation"), WRONG)
def test_a_wrong_number_is_found_in_each_form(
    checks: OutputChecks, source: str, translation: str
) -> None:
    assert checks.fault(source, translation) == "numbers"


@pytest.mark.parametrize(
    ("target", "source", "translation"),
    [
        (
            "fr",
            "It has 75 rooms and 200 doors.",
            "Il a soixante-quinze chambres et deux cents portes.",
        ),
        ("fr", "The bus returns at 5:30 pm.", "Le bus revient à 17 h 30."),
        ("es", "Add 1/2 cup of sugar to the flour.", "Añade media taza de azúcar a la harina."),
        ("de", "He was 34 years old.", "Er war vierunddreißig Jahre alt."),
        ("de", "The train leaves at 5.30 pm.", "Der Zug fährt um 17.30 Uhr ab."),
    ],
)
def test_right_numbers_pass_in_other_languages(target: str, source: str, translation: str) -> None:
    assert OutputChecks(CheckSettings(), "en", target).fault(source, translation) == ""

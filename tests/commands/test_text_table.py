"""Tables for a terminal."""

from hala_hpc.commands.text_table import text_table


def test_texts_are_left_aligned_and_columns_of_numbers_right_aligned() -> None:
    rows = [["english", "7", "12", ""], ["sft", "1024", "-", "waits for arabic"]]
    assert text_table(rows, ["node", "units", "rows", "left"]).splitlines() == [
        "node     units  rows  left",
        "-------  -----  ----  ----------------",
        "english      7    12",
        "sft       1024     -  waits for arabic",
    ]


def test_a_table_without_rows_has_its_heads() -> None:
    assert text_table([], ["node", "units"]) == "node  units\n----  -----"

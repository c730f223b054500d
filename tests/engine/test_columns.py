"""Tables in plain text."""

from balancemw.columns import columns


def test_words_begin_and_numbers_end_below_each_other():
    assert columns(("node", "state", "calls"), [("a:1", "up", "1,000"), ("bb:10", "down", "7")], left=2) == [
        "node   state  calls",
        "-----  -----  -----",
        "a:1    up     1,000",
        "bb:10  down       7",
    ]


def test_of_no_rows_there_are_the_headings():
    assert columns(("node", "calls"), []) == ["node  calls", "----  -----"]

"""README's picture of DLSA."""

from replication.reporting.diagram import diagram


def test_its_words_can_be_searched_and_its_bytes_repeat() -> None:
    text = diagram()
    assert text == diagram()
    for words in ("Flow Filter 1", "cluster-aided", "plain", "the rest"):
        assert words in text

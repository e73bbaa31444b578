"""What `make bench` understands."""

from __future__ import annotations

import pytest

from tests.bench.options import PARTS, ROUNDS, Options, parse


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Options(PARTS, ROUNDS, False)),
        ("--quick", Options(PARTS, 1, True)),
        ("--quick --rounds 3", Options(PARTS, 3, True)),
        ("memory path", Options(("path", "memory"), ROUNDS, False)),
        ("report", Options((), ROUNDS, False)),
    ],
)
def test_words(words: str, expected: Options) -> None:
    assert parse(words.split()) == expected


@pytest.mark.parametrize(("words", "told"), [("speed", "speed"), ("--rounds 0", "at least 1")])
def test_nonsense_is_refused(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert ended.value.code == 2
    assert told in capsys.readouterr().err

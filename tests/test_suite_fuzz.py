"""Ten thousand damaged suite files: each is read or refused with its faults; nothing else ever comes out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suites.faults import SuiteError
from suites.spec import load_suite
from tests.slowness import slowness
from tests.suite_samples import SMALL, write_modules

FILES, CHUNKS = 10_000, 20
NASTY = [
    "*", "&a ", "*a", "!", "!!python/name:os.system ", "!!int ", "%YAML 1.1\n---\n", "%TAG ! x:\n---\n", "---\n",
    "...\n", "<<: ", "? ", ": ", "- ", "| ", ">-2 ", "|+9\n", "'", '"', '"\\', '"\\UFFFFFFFF"', '"\\uD800"', '"\\x"',
    "\\", "#", "\t", "\r", "\r\n", "\n", "\0", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\ud7ff", "\U0010ffff",
    "é", "@", "[", "]", "{", "}", ",", "{a: 1, a: 2}", "[[[[[[[[[[[[[[[[[[[[", "{a: {a: {a: ", "~", "null", "true",
    "on", "12:30", "1e-3", "1e999", ".inf", ".nan", "+_", "0x", "0b", "0o9", "-", "_", "9" * 6000, "-" + "9" * 500,
    "1" + "_" * 50, "../..", "/etc/passwd", "a" * 3000, " " * 3000, "?" * 300, "seeds: 1000000000", "seeds: [0, 0]",
    "seeds: []", "env: os", "env: __main__", "env: a.b.c", "agent: sys", "agent: tests.suite_samples", "agent: ..",
    "agent: agents",
    "budget: 99999999999999999999", "tasks: {}", "claims: {}", "per_task: {x: {}}", "known: [reward]", "kind: ratio",
]  # fmt: skip
BOMBS = [
    b"[" * 4000, b"[" * 4000 + b"]" * 4000, b"{a: " * 4000, b"- " * 4000, b"? " * 4000, b"!" * 4000, b"&a " * 4000,
    b"a: &a [x]\n" + b"".join(b"%c: &%c [*%c, *%c, *%c]\n" % (n, n, n - 1, n - 1, n - 1) for n in range(98, 123)),
    b"seeds: " + b"9" * 6000, b"title: " + b"9" * 200_000, b"\0" * 1000, b"\xef\xbb\xbf" + SMALL.encode(),
    SMALL.encode("utf-16"), SMALL.encode("utf-32"), b"\xff\xfe\0", b"\x80", b"\xed\xa0\x80", b"", b"\n" * 250_000,
    b" " * 250_000, b"# x\n" * 60_000, b"a: |\n" + b" x\n" * 80_000, b"'" + b"a" * 260_000, b'"' + b"\\n" * 130_000,
    b"[" + b"1," * 130_000 + b"]", b"{" + b"a: 1," * 50_000 + b"}", b"- \n" * 80_000, b"a: x\n" * 50_000,
    b"a" * 262_144, b"a: " + b"ab " * 87_000, b"seeds: [" + b"1," * 9_000 + b"]", b"a" * 300_000, b"a\r" * 100_000,
]  # fmt: skip

Damage = Callable[[random.Random, str], str]


def cut(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randrange(1, 20) :]


def insert(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(NASTY) + text[at:]


def replace_character(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + chr(rng.choice([rng.randrange(128), rng.randrange(0xD7FF)])) + text[at + 1 :]


def replace_word(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice([rng.choice(NASTY), rng.choice(words)])
    return " ".join(words)


def move_line(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    line = rng.choice(lines) if rng.random() < 0.5 else lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), " " * rng.randrange(5) + line)
    return "\n".join(lines)


def truncate(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


DAMAGES: list[Damage] = [cut, insert, insert, replace_character, replace_word, replace_word, move_line, truncate]


def damaged(rng: random.Random) -> bytes:
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(200))
    if rng.random() < 0.05:
        return "".join(rng.choices(NASTY, k=rng.randrange(1, 15))).encode(errors="surrogatepass")
    text = SMALL
    for _ in range(rng.choice([1, 1, 2, 4])):
        text = rng.choice(DAMAGES)(rng, text)
    raw = bytearray(text.encode(errors="surrogatepass"))
    if raw and rng.random() < 0.1:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = write_modules(tmp_path_factory.mktemp("fuzz"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made)
        yield made


def refused(path: Path, raw: bytes) -> bool:
    """Whether the file is refused; every fault that it is refused for must be fit to be shown."""
    path.write_bytes(raw)
    try:
        assert load_suite(path).trials()
        return False
    except SuiteError as error:
        faults, shown = error.faults, str(error)
    assert faults
    assert all(character.isprintable() or character == "\n" for character in shown), shown
    return True


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_damaged_file_is_read_or_refused_with_its_faults(folder: Path, chunk: int) -> None:
    rng = random.Random(chunk)
    count = 0
    for number in range(FILES // CHUNKS):
        raw = damaged(rng)
        try:
            count += refused(folder / f"fuzz_{chunk}.yaml", raw)
        except Exception as error:
            message = f"chunk {chunk}, file {number}: expected a SuiteError at most for {raw!r}"
            raise AssertionError(message) from error
    assert FILES // CHUNKS * 0.5 < count < FILES // CHUNKS, "the damage is too much or too little to try the reader"


@pytest.mark.parametrize("number", range(len(BOMBS)), ids=lambda number: repr(BOMBS[number][:12]))
def test_a_bomb_is_refused_in_two_seconds_of_computing(folder: Path, number: int) -> None:
    start = time.process_time()
    assert refused(folder / "bomb.yaml", BOMBS[number])
    assert time.process_time() - start < 2.0 * slowness()

"""Damaged bytes: a good file with some of it flipped, cut, repeated, replaced by numbers that parsers trust."""

from hypothesis import strategies as st

_TRUSTED = [b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"9" * 12, b"\x80", b"[", b"\x00"]


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """One to six changes to a good file, near its head more often than elsewhere."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 6))):
        size = len(content)
        at = draw(st.integers(0, min(size, 200)) | st.integers(0, size))
        match draw(st.integers(0, 5)):
            case 0 if at < size:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case 1 if at < size:
                content[at] = draw(st.integers(0, 255))
            case 2:
                del content[at:]
            case 3:
                del content[at : at + draw(st.integers(1, 64))]
            case 4:
                content[at:at] = content[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 3))
            case _:
                trusted = draw(st.sampled_from(_TRUSTED))
                content[at : at + len(trusted)] = trusted
    return bytes(content)


def texts(*words: str) -> st.SearchStrategy[str]:
    """Any text, and text made of words that a parser knows."""
    known = st.lists(st.sampled_from(words) | st.text(max_size=4), max_size=14).map("".join)
    return known | st.text(max_size=60)

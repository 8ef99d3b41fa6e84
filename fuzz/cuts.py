"""Where the targets cut what they read."""

from __future__ import annotations


def pieces(wire: bytes, how: int) -> list[bytes]:
    """`wire` as the byte `how` says: equal pieces (even), or nine single bytes and the rest around them (odd).

    At most sixteen, since an execution costs what its reads cost. Between all values of `how` every place of a wire up
    to a kilobyte is cut.
    """
    how, lonely = divmod(how, 2)
    if lonely:
        place = how * len(wire) // 128
        middle = [wire[at : at + 1] for at in range(place, min(place + 9, len(wire)))]
        return [piece for piece in (wire[:place], *middle, wire[place + 9 :]) if piece]
    size = max(how % 64 + 1, -(-len(wire) // 16))
    return [wire[at : at + size] for at in range(0, len(wire), size)]

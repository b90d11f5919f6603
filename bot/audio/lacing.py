"""The packets in a block of Matroska, which may lace several into one (RFC 9559, section 10.3). Pure."""

_XIPH, _FIXED = 1, 2


def packets(block: bytes) -> list[bytes]:
    """Return the first two bytes of each packet in a block."""
    lacing, data = block[3] >> 1 & 3, block[4:]
    if not lacing or not data:
        return [data[:2]] if data else []
    count, at = data[0] + 1, 1
    sizes: list[int] = []
    if lacing == _FIXED:
        sizes = [(len(data) - 1) // count] * (count - 1)
    for number in range(count - 1 if lacing != _FIXED else 0):
        size, at = _xiph_size(data, at) if lacing == _XIPH else _ebml_size(data, at, sizes[-1] if number else None)
        sizes.append(size)
    beginnings = []
    for size in [*sizes, 1]:
        beginnings.append(data[at : at + 2])
        at += size
    return [packet for packet in beginnings if packet]


def _xiph_size(data: bytes, at: int) -> tuple[int, int]:
    size = 0
    while at < len(data) and data[at] == 255:
        size, at = size + 255, at + 1
    return size + (data[at] if at < len(data) else 0), at + 1


def _ebml_size(data: bytes, at: int, before: int | None) -> tuple[int, int]:
    """Return a size and the offset of its end. The first size is stored as it is, others as the difference to the one
    before."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 8
    coded = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
    size = coded if before is None else before + coded - ((1 << 7 * width - 1) - 1)
    return max(0, size), at + width

"""Facts of AAC that its containers share (ISO/IEC 14496-3). Pure."""

FRAME = 1024  # samples
RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
"""Hz, by index (table 1.18)."""

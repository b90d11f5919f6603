"""The limits of a child process: CPU time, time, memory, bytes written. Pure.

Most bounds follow the length of the sound. The cost of healthy files was measured; the limits leave room for slow and
busy machines, and a second try may use `MORE` times as much.
"""

from dataclasses import dataclass, replace

MEMORY_BYTES = 1 << 30  # of address space: the program itself, and memory that it reserves and never uses
DATA_BYTES = 224 << 20  # of memory that it can write to; 50 MiB are the program's, a decoder takes a few
OPEN_FILES = 64
MORE = 4  # times the limits, for a file that hit one
FIRST_CPU_S = 1
CPU_SHARE = 0.03  # of the length of the sound. Measured: 0.003; ten times that, for slow and busy machines
CHANGING_S, CHANGING_CPU_S, CHANGING_SHARE = 300.0, 2, 0.004
"""Bounds for sound whose rate or channels change within the file, which no recorder writes. ffmpeg sets up its filters
again at each change, which costs as much as 0.1 s of sound."""

STREAM_CPU_S, STREAM_SHARE = 10, 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one child. `wait_s` counts only the time that we wait for it, not the time that other children
    take."""

    cpu_s: int  # in all; with `earned`, the most that it can earn
    wait_s: float
    file_bytes: int = 0
    memory_bytes: int = MEMORY_BYTES
    earned: bool = False  # CPU time is `first_cpu_s` at first, then `share` of the sound that came out: see Child.earn
    first_cpu_s: int = FIRST_CPU_S
    share: float = CPU_SHARE

    @classmethod
    def decoding(cls, seconds: float) -> "Limits":
        return cls(cpu_s=FIRST_CPU_S + int(seconds * CPU_SHARE), wait_s=60 + seconds * 0.1, earned=True)

    @classmethod
    def changing(cls, seconds: float) -> "Limits":
        """Limit the decoding of sound whose rate or channels change on the way."""
        cpu_s = CHANGING_CPU_S + int(min(seconds, CHANGING_S) * CHANGING_SHARE)
        return replace(cls.decoding(seconds), cpu_s=cpu_s, first_cpu_s=CHANGING_CPU_S, share=CHANGING_SHARE)

    @classmethod
    def opening(cls) -> "Limits":
        """Limit the reading of a file's headers. Measured: 0.03 s of CPU, 0.2 s with an old build; crafted tables can
        take minutes."""
        return cls(cpu_s=1, wait_s=60)

    @classmethod
    def picture(cls) -> "Limits":
        """Limit the decoding of a picture. Measured: 1 s of CPU for 40 million pixels."""
        return cls(cpu_s=20, wait_s=60)

    @classmethod
    def encoding(cls, seconds: float, file_bytes: int) -> "Limits":
        return cls(cpu_s=60 + int(seconds * 0.1), wait_s=120 + seconds * 0.3, file_bytes=file_bytes)

    @classmethod
    def copying(cls, seconds: float) -> "Limits":
        """Limit the copying of `seconds` of packets, of all streams together, to somebody who may take them slowly.
        Measured: 0.9 s of CPU for an hour."""
        return cls(cpu_s=60 + int(seconds * 0.002), wait_s=86_400)

    @classmethod
    def streaming(cls, seconds: float) -> "Limits":
        """Limit a child that decodes and encodes a source as it comes, which may pause for as long as it likes.
        Measured: 0.007 of the length of the sound."""
        cpu_s = STREAM_CPU_S + int(seconds * STREAM_SHARE)
        return cls(cpu_s, wait_s=30 * 86_400, earned=True, first_cpu_s=STREAM_CPU_S, share=STREAM_SHARE)

    def more(self) -> "Limits":
        """Return limits for another try, which no healthy file exceeds however busy the machine is."""
        return replace(
            self,
            cpu_s=self.cpu_s * MORE,
            wait_s=self.wait_s * MORE,
            first_cpu_s=self.first_cpu_s * MORE,
            share=self.share * MORE,
        )

"""The answer to `check` in a room: the worst first, and what is fine in one line. Pure."""

from collections.abc import Sequence

from bot.check.finding import Finding, Level
from bot.language import _, plural

MOST_LINES = 20
_MARKS = {Level.FAIL: "❌", Level.WARN: "⚠️"}


def report(findings: Sequence[Finding]) -> str:
    """Tell what was found in at most MOST_LINES lines."""
    refused = [finding for finding in findings if finding.level is Level.FAIL]
    tripped = [finding for finding in findings if finding.level is Level.WARN]
    fine = list(dict.fromkeys(finding.subject for finding in findings if finding.level is Level.OK))
    lines = [_line(finding) for finding in (*refused, *tripped)]
    room = MOST_LINES - 2  # for the first line and the last
    if len(lines) > room:
        left = len(lines) - room + 1
        more = plural(
            "• {count} more; `aircheck check --feed` lists all",
            "• {count} more; `aircheck check --feed` lists all",
            left,
        )
        lines = [*lines[: room - 1], more]
    end = [_("Fine: {subjects}.").format(subjects=", ".join(fine))] if fine else []
    return "\n".join([_first(len(refused), len(tripped)), *lines, *end])


def report_on_calls(findings: Sequence[Finding]) -> str:
    """Tell what was found about the recording of calls, a line for each thing."""
    wrong = [finding for finding in findings if finding.level is not Level.OK]
    if not wrong:
        return _("Calls can be recorded here, those of Element Call too.")
    return "\n".join([_("Not every call can be recorded here as it should:"), *map(_line, wrong)])


def _first(refused: int, tripped: int) -> str:
    if not refused and not tripped:
        return _("I fetched the podcast's feed as a stranger would: Apple, Spotify and apps should take it as it is.")
    faults = plural("{count} thing is refused", "{count} things are refused", refused)
    warnings = plural("{count} thing does not work as it should", "{count} things do not work as they should", tripped)
    found = "; ".join([faults] * bool(refused) + [warnings] * bool(tripped))
    return _("I fetched the podcast's feed as a stranger would: {found}.").format(found=found)


def _line(finding: Finding) -> str:
    return f"• {_MARKS[finding.level]} {finding.subject}: {finding.text}"

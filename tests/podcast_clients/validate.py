"""feedvalidator of the W3C over a feed on standard input: prints its events as JSON.

Runs in the environment that `get_programs.sh` makes, with feedvalidator's sources in PYTHONPATH. The only argument is
the feed's address, against which its `self` link is compared.
"""

import importlib
import json
import sys


def main() -> None:
    """Print the name, level, element and parent of each event."""
    feedvalidator = importlib.import_module("feedvalidator")
    compatibility = importlib.import_module("feedvalidator.compatibility")
    levels = importlib.import_module("feedvalidator.logging")
    told = feedvalidator.validateString(
        sys.stdin.buffer.read(), firstOccurrenceOnly=0, fallback="utf-8", base=sys.argv[1]
    )
    events = [
        {
            "event": type(event).__name__,
            "error": isinstance(event, levels.Error),
            "element": event.params.get("element"),
            "parent": event.params.get("parent"),
            "value": str(event.params.get("value", ""))[:100],
            "line": event.params.get("line"),
        }
        for event in compatibility.AA(told["loggedEvents"])
    ]
    json.dump(events, sys.stdout)


if __name__ == "__main__":
    main()

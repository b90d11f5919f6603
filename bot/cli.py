"""Arguments and exit codes."""


def main() -> None:
    raise SystemExit(0)

"""The decisions of the people, and so who may hear what: the judge of the bot, by rules of its own."""

from dataclasses import dataclass, field

from storage.records import EventId, UserId


@dataclass
class Spoken:
    """A broadcast. `at` is its place among the events of the room."""

    started: EventId
    who: UserId
    at: int
    shared: bool  # newcomers could read the past when it began
    public: bool
    waits: bool  # for approval
    kept: bool = False
    deleted: bool = False


@dataclass
class Truth:
    """The room. `joined` has the place of each member's last join."""

    moderators: set[UserId]
    joined: dict[UserId, int]
    public: bool = False
    review: bool = False
    shared: bool = True
    recording: bool = True
    messages: bool = False
    calls: bool = False
    retention: bool = False
    opted_out: set[UserId] = field(default_factory=set)
    spoken: dict[EventId, Spoken] = field(default_factory=dict)

    def begins(self, started: EventId, who: UserId, at: int) -> None:
        if self.recording and who not in self.opted_out:
            self.spoken[started] = Spoken(started, who, at, self.shared, self.public, self.review)

    def records(self) -> set[str]:
        """Return what the room says that it records."""
        switches = (("broadcasts", self.recording), ("messages", self.messages), ("calls", self.calls))
        return {kind for kind, on in switches if on}

    def moderates(self, who: UserId) -> bool:
        return who in self.moderators and who in self.joined

    def may_change(self, who: UserId, spoken: Spoken) -> bool:
        return who in self.joined and not spoken.deleted and (self.moderates(who) or who == spoken.who)

    def hears(self, who: UserId) -> set[EventId]:
        """Return what a personal address opens on the pages."""
        return {each.started for each in self.spoken.values() if self._hears(who, each)}

    def _hears(self, who: UserId, spoken: Spoken) -> bool:
        if spoken.deleted or who not in self.joined:
            return False
        if spoken.waits and not (who == spoken.who or self.moderates(who)):
            return False
        return spoken.shared or self.joined[who] < spoken.at

    def lists(self, who: UserId) -> set[EventId]:
        """Return what a personal feed lists."""
        return {started for started in self.hears(who) if not self.spoken[started].waits}

    def publishes(self) -> set[EventId]:
        """Return what the public addresses open."""
        if not self.public:
            return set()
        return {each.started for each in self.spoken.values() if each.public and not each.deleted and not each.waits}

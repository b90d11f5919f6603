// Dates in the reader's own zone and language; the server wrote them in the podcast's.

const DATE_STYLES = {
  day: { dateStyle: "long" },
  clock: { timeStyle: "short" },
  moment: { dateStyle: "long", timeStyle: "short" },
};
const dateFormats = {}; // made when they are needed: each takes some milliseconds

function spokenDate(style, moment) {
  dateFormats[style] ??= new Intl.DateTimeFormat(undefined, DATE_STYLES[style]);
  return dateFormats[style].format(new Date(moment));
}

dressers.push((root) => {
  for (const time of root.querySelectorAll("time[data-when]")) {
    const text = spokenDate(time.dataset.when, time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
});

// The whole date with its zone, for who points at it.
document.addEventListener("pointerover", ({ target }) => {
  if (!target.matches?.("time[data-when]")) return;
  target.title = new Date(target.dateTime).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
});

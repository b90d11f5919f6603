// The controls of the player that stand in the page: play buttons, the waveform of a recording, chapters.

function showPlaying(player, texts) {
  for (const link of document.querySelectorAll("[data-play]")) {
    const here = player.isOn(link.dataset.play);
    const on = here && player.wanted;
    link.classList.toggle("is-on", on);
    link.classList.toggle("is-busy", here && player.busy);
    const label = filled(on ? texts.sayPauseTitle : texts.sayPlayTitle, { title: nameOf(link) });
    if (link.hasAttribute("aria-label")) link.setAttribute("aria-label", label); // else it has a text of its own
    link.closest("[data-row]")?.classList.toggle("is-current", here);
  }
}

function nameOf(link) {
  return link.dataset.name ?? link.dataset.title;
}

function hearPage(player) {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("[data-play]");
    const chapter = event.target.closest?.("[data-seek]");
    if (link) {
      event.preventDefault();
      player.toggle(trackOf(link));
    } else if (chapter) {
      const of = document.querySelector(`[data-play="${chapter.dataset.of}"]`);
      if (!of) return;
      event.preventDefault();
      player.playFrom(trackOf(of), Number(chapter.dataset.seek));
    }
  });
  // A link that is a button takes the space bar too.
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || !event.target.matches?.('a[role="button"]')) return;
    event.preventDefault();
    event.target.click();
  });
}

// `?t=185`, `#t=3:05`: the place that somebody shared, in seconds; null where there is none.
function sharedPlace(address) {
  const said = new URLSearchParams(address.hash.slice(1)).get("t") ?? address.searchParams.get("t") ?? "";
  if (!/^\d{1,6}(:\d{1,2}){0,2}(\.\d+)?$/.test(said)) return null;
  return said.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

// Where the player is in a recording, or would begin.
function showPlaces(player) {
  for (const box of document.querySelectorAll("[data-place]")) {
    const code = box.dataset.place;
    const text = clock(player.isOn(code) ? player.at : player.beginOf(code));
    if (box.textContent !== text) box.textContent = text;
  }
}

function dressPage(player, texts) {
  const waves = new Map();
  dressers.push((root) => {
    for (const link of root.querySelectorAll("[data-play]")) link.setAttribute("role", "button");
    for (const [box, scrubber] of waves) {
      if (box.isConnected) continue;
      scrubber.close();
      waves.delete(box);
      player.forget(box.dataset.wave); // a drawing is replaced when the sound is another
    }
    for (const box of root.querySelectorAll("[data-wave]")) {
      if (waves.has(box)) continue;
      const link = document.querySelector(`[data-play="${box.dataset.wave}"]`);
      if (link) waves.set(box, new Scrubber(box, player, () => trackOf(link)));
    }
    showPlaying(player, texts);
    showPlaces(player);
  });
  player.addEventListener("change", () => showPlaying(player, texts));
  player.addEventListener("time", () => showPlaces(player));
  const shared = sharedPlace(new URL(location.href));
  const own = document.querySelector("[data-wave]");
  if (shared !== null && own) player.cue(own.dataset.wave, shared);
  addEventListener("hashchange", () => {
    const place = sharedPlace(new URL(location.href));
    if (place === null || !own) return;
    if (player.isOn(own.dataset.wave)) player.seek(place);
    else player.cue(own.dataset.wave, place);
  });
}

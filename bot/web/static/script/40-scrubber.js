// The waveform of a recording, by which a listener seeks: what was played, where the player is, gaps, chapters, and who
// speaks. A slider for the keyboard and screen readers.

const BAR_PX = 2;
const BETWEEN_PX = 1;
const STEP_S = 5;
const PAGE_S = 60;
const VOICES = 6; // colours of the style sheet

// What a timeline says of a moment: the speaker, else the chapter; both are "" where there is none.
function saidAt(timeline, seconds) {
  if (!timeline) return "";
  const voice = timeline.voices.find(({ spans }) => spans.some(([at, length]) => seconds >= at && seconds < at + length));
  if (voice) return voice.name;
  if (timeline.gaps.some(([at, length]) => seconds >= at && seconds < at + length)) return timeline.missing;
  return timeline.chapters.findLast?.(([at]) => at <= seconds)?.[1] ?? "";
}

class Scrubber {
  // `track`: a function that returns the track that is shown, or null.
  constructor(box, player, track) {
    this.box = box;
    this.player = player;
    this.track = track;
    this.text = box.dataset.text; // "{at} of {length}"
    this.dragged = null; // seconds, while somebody drags
    this.layers = ["rest", "played"].map((name) => {
      const layer = drawn("svg", { preserveAspectRatio: "none", class: `wave-${name}`, "aria-hidden": "true" });
      return layer;
    });
    this.marks = element("span", { className: "wave-marks" });
    this.head = element("span", { className: "wave-head" });
    this.tip = element("output", { className: "wave-tip", hidden: true });
    this.tip.setAttribute("aria-hidden", "true");
    box.replaceChildren(...this.layers, this.marks, this.head, this.tip);
    box.setAttribute("role", "slider");
    box.setAttribute("aria-valuemin", "0");
    box.tabIndex = 0;
    this.hear();
    this.closing = new AbortController();
    const { signal } = this.closing;
    player.addEventListener("time", () => this.move(), { signal });
    player.addEventListener("change", () => this.show(), { signal });
    this.watching = new ResizeObserver(() => this.draw());
    this.watching.observe(box);
    this.show();
  }

  close() {
    this.closing.abort();
    this.watching.disconnect();
  }

  hear() {
    const { box } = this;
    box.addEventListener("pointerdown", (event) => {
      if (event.button || !this.seconds) return;
      box.setPointerCapture(event.pointerId);
      this.dragged = this.under(event);
      this.move();
    });
    box.addEventListener("pointermove", (event) => {
      if (!this.seconds) return;
      const at = this.under(event);
      if (this.dragged !== null) {
        this.dragged = at;
        this.move();
      }
      this.hover(at);
    });
    box.addEventListener("pointerup", (event) => {
      if (this.dragged === null) return;
      this.dragged = null;
      this.go(this.under(event), true);
      if (event.pointerType !== "mouse") this.tip.hidden = true;
    });
    box.addEventListener("pointercancel", () => {
      this.dragged = null;
      this.tip.hidden = true;
      this.move();
    });
    box.addEventListener("pointerleave", () => { if (this.dragged === null) this.tip.hidden = true; });
    box.addEventListener("keydown", (event) => {
      const to = {
        ArrowLeft: this.at - STEP_S, ArrowDown: this.at - STEP_S, ArrowRight: this.at + STEP_S, ArrowUp: this.at + STEP_S,
        PageDown: this.at - PAGE_S, PageUp: this.at + PAGE_S, Home: 0, End: this.seconds,
      }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.go(Math.min(Math.max(0, to), this.seconds), false);
    });
  }

  get seconds() {
    const track = this.track();
    if (!track) return 0;
    return this.player.isOn(track.code) ? this.player.duration : track.seconds;
  }

  get at() {
    if (this.dragged !== null) return this.dragged;
    const track = this.track();
    if (!track) return 0;
    return this.player.isOn(track.code) ? this.player.at : this.player.beginOf(track.code);
  }

  under(event) {
    const { left, width } = this.box.getBoundingClientRect();
    return Math.min(Math.max(0, (event.clientX - left) / width), 1) * this.seconds;
  }

  // Seek: a click also plays, a key only moves.
  go(seconds, plays) {
    const track = this.track();
    if (!track) return;
    if (this.player.isOn(track.code)) this.player.seek(seconds);
    else if (plays) this.player.playFrom(track, seconds);
    else this.player.cue(track.code, seconds);
    this.move();
  }

  show() {
    const track = this.track();
    const asked = track && this.player.timeline(track);
    if (asked !== this.asked) {
      this.asked = asked;
      this.timeline = null;
      asked?.then((timeline) => {
        if (this.asked !== asked) return;
        this.timeline = timeline;
        this.draw();
      });
      this.draw();
    }
    this.box.setAttribute("aria-disabled", String(!(this.seconds > 0)));
    this.move();
  }

  move() {
    const { box, seconds, at } = this;
    const share = seconds ? Math.min(1, at / seconds) : 0;
    box.style.setProperty("--played", `${(share * 100).toFixed(3)}%`);
    box.setAttribute("aria-valuemax", String(Math.floor(seconds)));
    box.setAttribute("aria-valuenow", String(Math.floor(Math.min(at, seconds))));
    const said = saidAt(this.timeline, at);
    const place = filled(this.text, { at: clock(at), length: clock(seconds) });
    box.setAttribute("aria-valuetext", said ? `${place}, ${said}` : place);
  }

  hover(seconds) {
    const said = saidAt(this.timeline, seconds);
    this.tip.hidden = false;
    this.tip.textContent = said ? `${clock(seconds)} ${said}` : clock(seconds);
    const width = this.box.clientWidth;
    const half = this.tip.offsetWidth / 2;
    const middle = Math.min(Math.max(half, seconds / this.seconds * width), width - half);
    this.tip.style.setProperty("left", `${middle}px`);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.box;
    if (!width) return;
    const { timeline } = this;
    this.box.classList.toggle("no-wave", !timeline?.bars);
    for (const layer of this.layers) {
      layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
      layer.replaceChildren(...(timeline?.bars ? this.paths(width, height) : []));
    }
    this.marks.replaceChildren(...(timeline ? this.marksOf(timeline) : []));
  }

  // One path for each speaker, and one for what is nobody's.
  paths(width, height) {
    const { timeline } = this;
    const bars = Uint8Array.from(atob(timeline.bars), (letter) => letter.charCodeAt(0));
    const count = Math.max(1, Math.floor(width / (BAR_PX + BETWEEN_PX)));
    const lines = new Map();
    const whose = voicesAlong(timeline, count);
    for (let index = 0; index < count; index++) {
      const high = Math.max(BAR_PX, highest(bars, index / count, (index + 1) / count) / 255 * height);
      const x = (index + .5) * width / count;
      const line = `M${x.toFixed(1)} ${((height - high) / 2).toFixed(1)}v${high.toFixed(1)}`;
      lines.set(whose[index], (lines.get(whose[index]) ?? "") + line);
    }
    return [...lines].map(([voice, line]) => drawn("path", { d: line, class: `voice voice-${voice}` }));
  }

  marksOf({ gaps, chapters, duration }) {
    const place = (mark, at, length) => {
      mark.style.setProperty("left", `${at / duration * 100}%`);
      if (length) mark.style.setProperty("width", `${length / duration * 100}%`);
      return mark;
    };
    return [
      ...gaps.map(([at, length]) => place(element("span", { className: "wave-gap" }), at, length)),
      ...chapters.filter(([at]) => at > 0).map(([at, title]) => place(element("span", { className: "wave-tick", title }), at)),
    ];
  }
}

function highest(bars, from, to) {
  const first = Math.floor(from * bars.length);
  return Math.max(...bars.subarray(first, Math.max(first + 1, Math.round(to * bars.length))));
}

// The number of the voice of each bar: 0 for nobody's, else from 1; all beyond the colours have the last one.
function voicesAlong({ voices, duration }, count) {
  const along = new Array(count).fill(0);
  voices.forEach(({ spans }, voice) => {
    for (const [at, length] of spans) {
      const first = Math.round(at / duration * count);
      along.fill(Math.min(voice + 1, VOICES), first, Math.max(first + 1, Math.round((at + length) / duration * count)));
    }
  });
  return along;
}

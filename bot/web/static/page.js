"use strict";

// The page works without this file: the address can be selected by hand.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = button.parentElement.querySelector("input");
  field.addEventListener("focus", () => field.select());
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// Only one player plays at a time.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) {
    if (audio !== event.target) audio.pause();
  }
}, true);

// Chapters and the waveform seek in the page's player.
function playFrom(seconds) {
  const audio = document.querySelector("audio");
  audio.currentTime = seconds;
  audio.play();
}
for (const link of document.querySelectorAll("[data-seek]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    playFrom(Number(link.dataset.seek));
  });
}
for (const wave of document.querySelectorAll("[data-seconds]")) {
  wave.addEventListener("click", (event) => {
    const { left, width } = wave.getBoundingClientRect();
    playFrom((event.clientX - left) / width * Number(wave.dataset.seconds));
  });
}

"use strict";

// Everything works without this file: the address can be selected by hand.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = button.parentElement.querySelector("input");
  field.addEventListener("focus", () => field.select());
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// One voice at a time.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) {
    if (audio !== event.target) audio.pause();
  }
}, true);

// A chapter, or a place in the picture of the sound, is heard in the page's own player.
function hearFrom(seconds) {
  const audio = document.querySelector("audio");
  audio.currentTime = seconds;
  audio.play();
}
for (const link of document.querySelectorAll("[data-seek]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    hearFrom(Number(link.dataset.seek));
  });
}
for (const wave of document.querySelectorAll("[data-seconds]")) {
  wave.addEventListener("click", (event) => {
    const { left, width } = wave.getBoundingClientRect();
    hearFrom((event.clientX - left) / width * Number(wave.dataset.seconds));
  });
}

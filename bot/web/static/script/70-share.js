// Copying: an address, the code of an embedded player, a link to a recording, or to the place where the player is.

const COPIED_MS = 2500;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function hearCopying(player) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    const field = button && document.getElementById(button.dataset.copy);
    if (!field || !await copy(field.value)) return;
    button.dataset.label ??= button.textContent;
    button.textContent = button.dataset.copied;
    announce(button.dataset.copied);
    setTimeout(() => { button.textContent = button.dataset.label; }, COPIED_MS);
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.("input[readonly]")) event.target.select();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("[data-share-at]")) showShared(player);
  });
  player.addEventListener("time", () => showShared(player));
  dressers.push((root) => {
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
    for (const part of root.querySelectorAll("[data-scripted]")) part.hidden = false;
  });
}

// Put the link to share into its field: with the place where the player is, if that is wanted.
function showShared(player) {
  const field = document.querySelector("[data-share]");
  if (!field) return;
  const address = new URL(field.dataset.share);
  const seconds = Math.floor(player.isOn(field.dataset.of) ? player.at : player.beginOf(field.dataset.of));
  if (document.querySelector("[data-share-at]")?.checked && seconds) address.searchParams.set("t", seconds);
  if (field.value !== address.href) field.value = address.href;
}

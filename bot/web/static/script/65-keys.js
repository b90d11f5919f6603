// Keys of the page, while the player is there: space, and the arrows to the left and right. None of them is taken from
// what has the focus and uses it itself.

const USES_KEYS = "input, select, textarea, button, summary, audio, video, [role=slider], [role=button], [contenteditable]";

function hearKeys(player) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (!player.track || target.closest?.(USES_KEYS)) return;
    const act = {
      " ": () => player.toggle(),
      ArrowLeft: () => player.skip(-SKIP_BACK_S),
      ArrowRight: () => player.skip(SKIP_ON_S),
    }[event.key];
    if (!act || (event.key === " " && target.closest?.("a"))) return;
    event.preventDefault();
    act();
  });
}

// Panels below buttons: one at a time, closed by Escape or by a click beside them. And which podcast apps this system
// has: a panel leaves out the others.

function systemOf({ userAgent, maxTouchPoints }) {
  if (userAgent.includes("Android")) return "android";
  if (/iPhone|iPad|iPod/.test(userAgent)) return "iphone";
  if (userAgent.includes("Mac")) return maxTouchPoints > 1 ? "iphone" : "mac"; // an iPad calls itself a Mac
  return "desktop";
}

document.documentElement.classList.add(`on-${systemOf(navigator)}`);

function closePanels(except) {
  for (const panel of document.querySelectorAll("details[data-popover][open]")) {
    if (!panel.contains(except)) panel.open = false;
  }
}

document.addEventListener("click", (event) => closePanels(event.target));
document.addEventListener("keydown", (event) => {
  const panel = event.key === "Escape" && document.querySelector("details[data-popover][open]");
  if (!panel) return;
  const inside = panel.contains(document.activeElement);
  panel.open = false;
  if (inside) panel.querySelector("summary").focus();
});

const bar = document.querySelector("[data-bar]");
if (bar) {
  const player = new Player(bar.dataset);
  bar.append(player.audio);
  const controls = new Bar(bar, player);
  showOnLockScreen(player, controls);
  dressPage(player, bar.dataset);
  hearPage(player);
  hearKeys(player);
  hearCopying(player);
  news.begin(bar, player);
}
dress(document);

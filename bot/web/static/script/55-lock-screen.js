// What the lock screen, a headset and a keyboard's media keys show and do.

function showOnLockScreen(player, bar) {
  const session = navigator.mediaSession;
  if (!session || !window.MediaMetadata) return;
  const acts = {
    play: () => player.play(),
    pause: () => player.pause(),
    stop: () => player.leave(),
    seekbackward: ({ seekOffset }) => player.skip(-(seekOffset || SKIP_BACK_S)),
    seekforward: ({ seekOffset }) => player.skip(seekOffset || SKIP_ON_S),
    seekto: ({ seekTime }) => player.seek(seekTime),
    previoustrack: () => bar.neighbour(-1),
    nexttrack: () => bar.neighbour(1),
  };
  for (const [name, act] of Object.entries(acts)) {
    try {
      session.setActionHandler(name, act);
    } catch { /* this browser does not know it */ }
  }

  let shown;
  player.addEventListener("change", () => {
    const { track } = player;
    session.playbackState = !track ? "none" : player.wanted ? "playing" : "paused";
    if (track === shown) return;
    shown = track;
    session.metadata = track && new MediaMetadata({
      title: track.title,
      artist: track.who || track.room,
      album: track.room,
      artwork: track.art ? [{ src: new URL(track.art, location.href).href, type: "image/jpeg" }] : [],
    });
  });

  const { audio } = player;
  const place = () => {
    const { duration } = audio;
    if (!session.setPositionState || !Number.isFinite(duration) || !(duration > 0)) return;
    session.setPositionState({
      duration, playbackRate: audio.playbackRate || 1, position: Math.min(audio.currentTime, duration),
    });
  };
  for (const name of ["durationchange", "ratechange", "seeked", "playing", "pause"]) audio.addEventListener(name, place);
}

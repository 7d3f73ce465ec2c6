// Play one version of a sample at a time, and continue at the same position after a switch to another version. Without
// this script, the players are ordinary audio elements.

/** Load the whole file to allow seeking, because some servers do not support range requests. */
async function load(audio) {
  const file = await (await fetch(audio.src)).blob();
  const ready = new Promise((resolve) => audio.addEventListener("loadedmetadata", resolve, { once: true }));
  audio.src = URL.createObjectURL(file);
  await ready;
}

let latest = null; // the version that was started last

async function take(started, time) {
  if (!started.seekable.length || started.seekable.end(0) < time) {
    started.pause();
    await load(started);
    if (started !== latest) return; // Another version was started meanwhile.
  }
  started.currentTime = time;
  await started.play();
}

document.addEventListener("play", (event) => {
  const started = event.target;
  if (!(started instanceof HTMLAudioElement)) return;
  latest = started;
  for (const other of document.querySelectorAll(".silk-version audio")) {
    if (other === started || other.paused) continue;
    other.pause();
    if (other.closest(".silk-listen") === started.closest(".silk-listen")) void take(started, other.currentTime);
  }
}, true);

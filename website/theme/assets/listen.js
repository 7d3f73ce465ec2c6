// Versions of one sample play one at a time, and each continues where the last one was. Without this script, they are
// ordinary audio elements.

/** Load the whole file, so that it can be moved to any time. Some servers do not send parts of files. */
async function load(audio) {
  const file = await (await fetch(audio.src)).blob();
  const ready = new Promise((resolve) => audio.addEventListener("loadedmetadata", resolve, { once: true }));
  audio.src = URL.createObjectURL(file);
  await ready;
}

async function take(started, time) {
  if (!started.seekable.length || started.seekable.end(0) < time) {
    started.pause();
    await load(started);
  }
  started.currentTime = time;
  await started.play();
}

document.addEventListener("play", (event) => {
  const started = event.target;
  if (!(started instanceof HTMLAudioElement)) return;
  for (const other of document.querySelectorAll(".silk-version audio")) {
    if (other === started || other.paused) continue;
    other.pause();
    if (other.closest(".silk-listen") === started.closest(".silk-listen")) void take(started, other.currentTime);
  }
}, true);

// Versions of one sample play one at a time, and each continues where the last one was. Without this script, they are
// ordinary audio elements.
document.addEventListener("play", (event) => {
  const started = event.target;
  if (!(started instanceof HTMLAudioElement)) return;
  for (const other of document.querySelectorAll(".silk-version audio")) {
    if (other === started || other.paused) continue;
    other.pause();
    if (other.closest(".silk-listen") === started.closest(".silk-listen")) started.currentTime = other.currentTime;
  }
}, true);

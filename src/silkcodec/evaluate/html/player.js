// Players of the report. mixer.js plays the audio.

class Player {
  constructor(clip) {
    this.clip = clip;
    this.duration = Number(clip.dataset.duration);
    this.radios = [...clip.querySelectorAll("input[type=radio]")];
    const sounds = [...clip.querySelectorAll("audio")].map((audio) => {
      const source = audio.getAttribute("src");
      audio.remove(); // only for pages without scripts
      return source;
    });
    this.seek = clip.querySelector(".seek");
    this.time = clip.querySelector(".time");
    this.playButton = clip.querySelector(".play");
    const loop = clip.querySelector(".loop");
    const match = clip.querySelector(".match");
    this.mixer = new Mixer({
      duration: this.duration,
      load: (context) => Promise.all(sounds.map((source) => context.decodeAudioData(bytes(source)))),
      gain: (index) => (match.checked ? 10 ** (Number(this.radios[index].dataset.gainDb) / 20) : 1),
      changed: () => this.show(),
      failed: (error) => (this.time.value = `This browser cannot decode the audio: ${error.message}`),
    });
    clip.querySelector(".transport").hidden = false;
    this.playButton.addEventListener("click", () => this.mixer.toggle());
    this.seek.addEventListener("input", () => this.mixer.go(Number(this.seek.value)));
    loop.addEventListener("change", () => this.mixer.loop(loop.checked));
    match.addEventListener("change", () => this.mixer.mix());
    clip.addEventListener("change", (event) => {
      if (event.target.type === "radio") this.mixer.select(this.radios.indexOf(event.target));
    });
    clip.querySelectorAll(".picture").forEach((picture, i) => this.scrub(picture, i));
    this.show();
  }

  show() {
    const { active, chosen, position: at } = this.mixer;
    this.clip.classList.toggle("playing", active);
    this.playButton.firstChild.textContent = active ? "Pause" : "Play";
    this.radios[chosen].checked = true;
    this.clip.querySelectorAll(".track").forEach((track, i) => track.classList.toggle("selected", i === chosen));
    this.clip.style.setProperty("--at", `${((100 * at) / this.duration).toFixed(3)}%`);
    this.seek.value = at;
    this.seek.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.duration.toFixed(1)} seconds`);
    this.time.value = `${at.toFixed(1)} / ${this.duration.toFixed(1)} s`;
  }

  // Clicking a spectrogram plays from that position, and dragging moves the position. Scrolling by touch does neither.
  scrub(picture, index) {
    let held = null;
    const move = (event) => {
      const box = picture.getBoundingClientRect();
      this.mixer.go(this.duration * Math.max(0, Math.min(0.9999, (event.clientX - box.left) / box.width)));
    };
    const take = (event) => {
      held.taken = true;
      this.mixer.select(index);
      if (this.mixer.active) this.mixer.pause();
      move(event);
    };
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      picture.setPointerCapture(event.pointerId);
      held = { sounded: this.mixer.active, taken: false };
      if (event.pointerType === "mouse") take(event);
    });
    picture.addEventListener("pointermove", (event) => held && (held.taken ? move(event) : take(event)));
    picture.addEventListener("pointerup", (event) => {
      if (!held) return;
      if (!held.taken) take(event);
      if (held.sounded) this.mixer.play();
      held = null;
    });
    picture.addEventListener("pointercancel", () => (held = null));
  }
}

function bytes(uri) {
  return Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (character) => character.charCodeAt(0)).buffer;
}

const root = document.getElementById("players");
if (root) {
  const players = [...root.querySelectorAll(".clip")].map((clip) => new Player(clip));
  const tabs = [...root.querySelectorAll("[role=tab]")];
  let open = 0;

  const turnTo = (index) => {
    const { chosen } = players[open].mixer;
    pausePlaying();
    open = index;
    players.forEach((player, i) => (player.clip.hidden = i !== index));
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === index);
      tab.tabIndex = i === index ? 0 : -1;
    });
    players[index].mixer.select(Math.min(chosen, players[index].radios.length - 1));
  };
  if (tabs.length) {
    tabs[0].parentElement.hidden = false;
    root.classList.add("tabbed");
    turnTo(0);
  }
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => turnTo(i));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (i + step + tabs.length) % tabs.length;
      turnTo(next);
      tabs[next].focus();
    });
  });

  document.addEventListener("keydown", (event) => {
    const { mixer, radios } = players[open];
    handleKey(event, mixer, root, radios.length);
  });
}

// Players. All versions of a clip play in sync, each through its own gain node. Selecting a version only changes the
// gains, so the position stays the same and switching is immediate.

const FADE_S = 0.004; // time constant of a switch; shorter values cause clicks, longer values blur the comparison
let context = null; // created when a clip is first played, because browsers allow sound only after a user gesture
let playing = null; // the player that is playing

class Player {
  constructor(clip) {
    this.clip = clip;
    this.duration = Number(clip.dataset.duration);
    this.at = 0; // position in s while paused
    this.run = null; // the sources that are playing
    this.radios = [...clip.querySelectorAll("input[type=radio]")];
    this.sounds = [...clip.querySelectorAll("audio")].map((audio) => {
      const source = audio.getAttribute("src");
      audio.remove(); // only for pages without scripts
      return source;
    });
    this.seek = clip.querySelector(".seek");
    this.time = clip.querySelector(".time");
    this.playButton = clip.querySelector(".play");
    this.loop = clip.querySelector(".loop");
    this.match = clip.querySelector(".match");
    clip.querySelector(".transport").hidden = false;
    this.playButton.addEventListener("click", () => this.toggle());
    this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
    this.loop.addEventListener("change", () => this.run?.sources.forEach((s) => (s.loop = this.loop.checked)));
    this.match.addEventListener("change", () => this.mix());
    clip.addEventListener("change", (event) => event.target.type === "radio" && this.select(this.chosen));
    clip.querySelectorAll(".picture").forEach((picture, i) => this.scrub(picture, i));
    this.select(0);
    this.show();
  }

  get chosen() {
    return this.radios.findIndex((radio) => radio.checked);
  }

  get position() {
    if (!this.run) return this.at;
    return (this.run.at + Math.max(0, context.currentTime - this.run.when)) % this.duration;
  }

  select(index) {
    if (!this.radios[index]) return;
    this.radios[index].checked = true;
    this.clip.querySelectorAll(".track").forEach((track, i) => track.classList.toggle("selected", i === index));
    this.mix();
  }

  mix() {
    this.run?.gains.forEach((gain, i) => {
      gain.gain.cancelScheduledValues(context.currentTime);
      gain.gain.setTargetAtTime(this.gain(i), context.currentTime, FADE_S);
    });
  }

  gain(index) {
    if (index !== this.chosen) return 0;
    return this.match.checked ? 10 ** (Number(this.radios[index].dataset.gainDb) / 20) : 1;
  }

  toggle() {
    if (this.run) this.pause();
    else this.play();
  }

  async play() {
    context ??= new AudioContext();
    if (playing !== this) playing?.pause();
    playing = this;
    this.clip.classList.add("playing");
    try {
      context.resume(); // not awaited, because the promise stays pending while the browser forbids sound
      this.buffers ??= Promise.all(this.sounds.map((source) => context.decodeAudioData(bytes(source))));
      const buffers = await this.buffers;
      if (playing === this && !this.run) this.start(buffers);
    } catch (error) {
      this.pause();
      this.time.value = `This browser cannot decode the audio: ${error.message}`;
    }
  }

  start(buffers) {
    const when = context.currentTime + 0.01;
    const out = context.createGain();
    out.connect(context.destination);
    this.run = { at: this.at, when, out, sources: [], gains: [] };
    const length = Math.min(this.duration, ...buffers.map((buffer) => buffer.duration));
    buffers.forEach((buffer, i) => {
      const gain = new GainNode(context, { gain: this.gain(i) });
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.loop.checked, loopEnd: length });
      source.connect(gain).connect(out);
      source.start(when, Math.min(this.at, length - 0.001));
      this.run.sources.push(source);
      this.run.gains.push(gain);
    });
    const run = this.run;
    run.sources[0].addEventListener("ended", () => this.run === run && this.pause(0));
    this.playButton.firstChild.textContent = "Pause";
    this.show();
  }

  pause(at = this.position) {
    this.at = at;
    if (this.run) {
      const { out, sources } = this.run;
      this.run = null;
      out.gain.setTargetAtTime(0, context.currentTime, FADE_S);
      for (const source of sources) source.stop(context.currentTime + 8 * FADE_S);
    }
    if (playing === this) playing = null;
    this.clip.classList.remove("playing");
    this.playButton.firstChild.textContent = "Play";
    this.show();
  }

  go(at) {
    const run = this.run;
    const within = Math.max(0, Math.min(at, this.duration - 0.001));
    if (run) this.pause(within);
    this.at = within;
    if (run) this.play();
    else this.show();
  }

  show() {
    const at = this.position;
    this.clip.style.setProperty("--at", `${((100 * at) / this.duration).toFixed(3)}%`);
    this.seek.value = at;
    this.seek.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.duration.toFixed(1)} seconds`);
    this.time.value = `${at.toFixed(1)} / ${this.duration.toFixed(1)} s`;
    if (this.run) requestAnimationFrame(() => this.run && this.show());
  }

  // Clicking a spectrogram plays from that position, and dragging moves the position. Scrolling by touch does neither.
  scrub(picture, index) {
    let held = null;
    const move = (event) => {
      const box = picture.getBoundingClientRect();
      this.at = this.duration * Math.max(0, Math.min(0.9999, (event.clientX - box.left) / box.width));
      this.show();
    };
    const take = (event) => {
      held.taken = true;
      this.select(index);
      if (this.run) this.pause();
      move(event);
    };
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      picture.setPointerCapture(event.pointerId);
      held = { sounded: this.run !== null, taken: false };
      if (event.pointerType === "mouse") take(event);
    });
    picture.addEventListener("pointermove", (event) => held && (held.taken ? move(event) : take(event)));
    picture.addEventListener("pointerup", (event) => {
      if (!held) return;
      if (!held.taken) take(event);
      if (held.sounded) this.play();
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
    const chosen = players[open].chosen;
    if (playing) playing.pause();
    open = index;
    players.forEach((player, i) => (player.clip.hidden = i !== index));
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === index);
      tab.tabIndex = i === index ? 0 : -1;
    });
    players[index].select(chosen);
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
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const box = root.getBoundingClientRect();
    const near = playing || root.contains(event.target) || (box.top < innerHeight && box.bottom > 0);
    if (!near || event.target.closest("select, textarea, input[type=text]")) return;
    if (/^[1-9]$/.test(event.key)) players[open].select(Number(event.key) - 1);
    else if (event.key !== " " || event.target.closest("button, a, summary, input[type=checkbox]")) return;
    else players[open].toggle();
    event.preventDefault();
  });
}

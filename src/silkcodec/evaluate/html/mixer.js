// Gapless playback of several versions of a clip. The report and the `silk explain` page (web/) share this file.
// All versions play in sync, each through its own gain node. Selecting a version only changes the gains, so the position
// stays the same and switching is immediate.

const FADE_S = 0.004; // time constant of a switch; shorter values cause clicks, longer values blur the comparison
/** @type {AudioContext | null} */
let context = null; // created when something is first played, because browsers allow sound only after a user gesture
/** @type {Mixer | null} */
let playing = null; // the only mixer that plays, or that is about to play

/** Pause the mixer that is playing, if there is one. */
export function pausePlaying() {
  playing?.pause();
}

export class Mixer {
  /**
   * @param {object} options
   * @param {number} options.duration in s
   * @param {(context: AudioContext) => Promise<AudioBuffer[]>} options.load returns all versions; called once
   * @param {(index: number) => number} options.gain returns the factor of a version
   * @param {() => void} options.changed called after each change, and for each drawn frame while playing
   * @param {() => void} [options.starting] called before playing starts
   * @param {(error: Error) => void} [options.failed] called if a version cannot be loaded
   */
  constructor(options) {
    this.options = options;
    this.chosen = 0;
    this.looping = false;
    this.at = 0; // position in s while paused
    /** @type {{ at: number, when: number, out: GainNode, sources: AudioBufferSourceNode[], gains: GainNode[] } | null} */
    this.run = null; // what is playing
    /** @type {Promise<AudioBuffer[]> | null} */
    this.buffers = null;
  }

  /** Whether this mixer plays, or loads in order to play. */
  get active() {
    return playing === this;
  }

  get position() {
    if (!this.run || !context) return this.at;
    return (this.run.at + Math.max(0, context.currentTime - this.run.when)) % this.options.duration;
  }

  /** @param {number} index */
  select(index) {
    this.chosen = index;
    this.mix();
    this.options.changed();
  }

  /** @param {boolean} looping */
  loop(looping) {
    this.looping = looping;
    this.run?.sources.forEach((source) => (source.loop = looping));
    this.options.changed();
  }

  /** Apply the gains. Call this when the result of `gain` changes. */
  mix() {
    this.run?.gains.forEach(({ gain }, i) => {
      gain.cancelScheduledValues(context.currentTime);
      gain.setTargetAtTime(this.gain(i), context.currentTime, FADE_S);
    });
  }

  /** @param {number} index */
  gain(index) {
    return index === this.chosen ? this.options.gain(index) : 0;
  }

  toggle() {
    if (this.active) this.pause();
    else this.play();
  }

  async play() {
    context ??= new AudioContext();
    if (!this.active) playing?.pause();
    this.options.starting?.();
    playing = this;
    this.options.changed();
    try {
      context.resume(); // not awaited, because the promise stays pending while the browser forbids sound
      this.buffers ??= this.options.load(context);
      const buffers = await this.buffers;
      if (this.active && !this.run) this.start(buffers);
    } catch (error) {
      this.pause();
      this.options.failed?.(error);
    }
  }

  /** @param {AudioBuffer[]} buffers */
  start(buffers) {
    const when = context.currentTime + 0.01;
    const out = context.createGain();
    out.connect(context.destination);
    const run = (this.run = { at: this.at, when, out, sources: [], gains: [] });
    const length = Math.min(this.options.duration, ...buffers.map((buffer) => buffer.duration));
    buffers.forEach((buffer, i) => {
      const gain = new GainNode(context, { gain: this.gain(i) });
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.looping, loopEnd: length });
      source.connect(gain).connect(out);
      source.start(when, Math.min(this.at, length - 0.001));
      run.sources.push(source);
      run.gains.push(gain);
    });
    run.sources[0].addEventListener("ended", () => this.run === run && this.pause(0));
    this.follow();
  }

  /** Report the position for each drawn frame. */
  follow() {
    this.options.changed();
    if (this.run) requestAnimationFrame(() => this.run && this.follow());
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
    this.options.changed();
  }

  /**
   * Move to a position, and continue to play if it was playing.
   * @param {number} at in s
   */
  go(at) {
    const { run } = this;
    const within = Math.max(0, Math.min(at, this.options.duration - 0.001));
    if (run) this.pause(within);
    this.at = within;
    if (run) this.play();
    else this.options.changed();
  }
}

/**
 * Handle a key: 1 to 9 select a version, and space plays or pauses. The keys work while the mixer plays, and while its
 * element is in view or has the focus.
 * @param {KeyboardEvent} event
 * @param {Mixer} mixer
 * @param {Element} element
 * @param {number} count number of versions
 */
export function handleKey(event, mixer, element, count) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = /** @type {Element} */ (event.target);
  const box = element.getBoundingClientRect();
  const inView = box.top < innerHeight && box.bottom > 0;
  // A control outside the element keeps its keys.
  const near = element.contains(target) || ((mixer.active || inView) && target === document.body);
  if (!near || target.closest("select, textarea, input[type=text]")) return;
  if (/^[1-9]$/.test(event.key)) {
    if (Number(event.key) <= count) mixer.select(Number(event.key) - 1);
  } else if (event.key !== " " || target.closest("button, a, summary, input[type=checkbox], input[type=file]")) return;
  else if (mixer.active || element.contains(target)) mixer.toggle();
  else return; // The space bar scrolls the page.
  event.preventDefault();
}

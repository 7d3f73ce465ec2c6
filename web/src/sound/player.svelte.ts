/** Plays one sound at a time: starting a sound stops the previous one. */

import { pausePlaying } from "report-player";
import { SAMPLE_RATE } from "silkcodec";

class Player {
  /** Name of the sound that is playing, as its button passed it. */
  name = $state<string | null>(null);
  /** Playback position, seconds from the start of the wave. */
  position_s = $state(0);
  /** Changes when a sound starts or stops, so that a sound that took time to compute does not replace a later choice. */
  turn = 0;

  #context: AudioContext | null = null;
  #source: AudioBufferSourceNode | null = null;

  /**
   * Make or resume the audio context. Call it in the handler of a click, a key or a change, before any await. Browsers
   * do not start contexts that are made later, and pointerdown does not allow it for touches.
   */
  prepare(): void {
    this.#context ??= new AudioContext();
    if (this.#context.state !== "running") void this.#context.resume();
  }

  play(name: string, wave: Float32Array, from_s = 0, to_s = wave.length / SAMPLE_RATE): void {
    this.stop();
    const first = Math.max(0, Math.round(from_s * SAMPLE_RATE));
    const part = wave.slice(first, Math.round(to_s * SAMPLE_RATE));
    if (!part.length) return;
    soften(part);
    this.prepare();
    const context = this.#context!;
    const buffer = context.createBuffer(1, part.length, SAMPLE_RATE);
    buffer.copyToChannel(part as Float32Array<ArrayBuffer>, 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(context.destination);
    source.onended = () => {
      if (this.#source === source) this.stop();
    };
    source.start();
    const began = context.currentTime;
    this.#source = source;
    this.name = name;
    const follow = () => {
      if (this.#source !== source) return;
      this.position_s = Math.min(to_s, from_s + Math.max(0, context.currentTime - began));
      requestAnimationFrame(follow);
    };
    follow();
  }

  /** Stops all sound of the page, including the versions in the section on listening. */
  stop(): void {
    this.turn++;
    pausePlaying();
    const source = this.#source;
    this.#source = null;
    this.name = null;
    source?.stop();
  }
}

/** Fade in and out over 5 ms, so that a part of a recording starts and ends without a click. */
function soften(part: Float32Array): void {
  const n = Math.min(120, part.length >> 1);
  for (let i = 0; i < n; i++) {
    part[i] *= i / n;
    part[part.length - 1 - i] *= i / n;
  }
}

export const player = new Player();

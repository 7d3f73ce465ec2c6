/** An animation that runs once from 0 to 1. With reduced motion, it jumps to the end. */

import { motion } from "./motion.svelte";

export class Run {
  at = $state(1);
  running = $state(false);
  #token = 0;

  start(duration_s: number): void {
    const token = ++this.#token;
    if (motion.reduced) {
      this.at = 1;
      this.running = false;
      return;
    }
    this.running = true;
    this.at = 0;
    const began = performance.now();
    const step = (now: number) => {
      if (token !== this.#token) return;
      this.at = Math.min(1, Math.max(0, (now - began) / (1000 * duration_s)));
      if (this.at < 1) requestAnimationFrame(step);
      else this.running = false;
    };
    requestAnimationFrame(step);
  }

  /** Stop at the current position. */
  stop(): void {
    this.#token++;
    this.running = false;
  }

  /** Return `at` with a slow start and end. */
  get eased(): number {
    return this.at * this.at * (3 - 2 * this.at);
  }
}

export const mix = (from: number, to: number, at: number): number => from + (to - from) * at;

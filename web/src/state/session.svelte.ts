/** The state that all figures share: the current recording, the selected moment, the model, and the message to the reader. */

import { SvelteMap } from "svelte/reactivity";
import { Canceled, Model } from "./live";
import { forget, isStored } from "./model-store";
import { motion } from "./motion.svelte";
import { keepPage, savesData } from "./offline";
import { FRAME_S, LATENT_WIDTH, MIDDLE_LEVEL, SAMPLE_RATE, SilkError, nFrames, readSilk } from "silkcodec";
import { LONGEST_S, checked, openSound, type Opened } from "../sound/open";
import { sectionsInView } from "../parts/view";
import { player } from "../sound/player.svelte";
import { SAMPLES, duration_s, fetchSample, fetchStages, framesOf, prepareMel, type RecordedStages, type Recording } from "./recording";

export type ModelState =
  | { phase: "offered" } // data saver is on, so the reader decides
  | { phase: "loading"; bytes: number; totalBytes: number | null }
  | { phase: "ready"; codec: string; decodes: readonly string[]; bytes: number }
  | { phase: "failed" };

const MOST_OWN = 5; // recordings of the reader that the session keeps

class Session {
  recording = $state.raw<Recording | null>(null);
  samples = $state.raw<Record<string, Recording>>({});
  /** Description of the recorded stages of the samples. */
  stages = $state.raw<RecordedStages | null>(null);
  /** Whether a sample is missing because its download failed. */
  samplesFailed = $state(false);
  /** The reader's recordings and files, the newest last. */
  own = $state.raw<Recording[]>([]);
  /** Changed levels of recordings that were edited. */
  #edits = new SvelteMap<Recording, Uint8Array>();
  /** The moment that all figures show, seconds. */
  moment_s = $state(0);
  model = $state.raw<ModelState>({ phase: "loading", bytes: 0, totalBytes: null });
  /** The running task that the reader can cancel, and its progress (0..1). */
  work = $state.raw<{ what: string; share: number } | null>(null);
  message = $state.raw<{ kind: "error" | "note"; text: string } | null>(null);
  /** The number of frames of a sample in which the live model returned the recorded tokens. */
  parity = $state.raw<{ name: string; equal: number; frames: number } | null>(null);
  /** How many times faster than real time the last encoding and decoding were. */
  speed = $state.raw<{ encode: number; decode: number } | null>(null);

  live: Model | null = null;
  #comparing = new AbortController(); // of the comparison of the shown sample
  #opening = new AbortController(); // of the recording that was chosen, opened or made last

  /** Load the model and show the first sample. The other samples load after the model, so that they do not delay it. */
  async start(): Promise<void> {
    try {
      const asked = savesData() && !(await isStored(weightsFolder()));
      if (asked) this.model = { phase: "offered" };
      else this.load();
      this.stages = await fetchStages();
      const sample = await this.#sample(SAMPLES[0].name);
      if (!this.recording) this.#put(sample); // The reader may have opened a file or chosen another sample meanwhile.
      if (this.model.phase !== "loading") await this.loadSamples();
    } catch (error) {
      this.tell(error);
    }
  }

  /** Show a sample. */
  choose(name: string): Promise<void> {
    return this.#run(async (signal) => {
      const sample = await this.#sample(name);
      if (!signal.aborted) this.#put(sample);
    });
  }

  /** Load the samples that are missing. */
  async loadSamples(): Promise<void> {
    const missing: string[] = [];
    for (const { name, title } of SAMPLES) await this.#sample(name).catch(() => missing.push(title));
    this.samplesFailed = missing.length > 0;
    if (missing.length) this.message = { kind: "error", text: `Could not load the samples: ${missing.join(", ")}. Check the network and choose a sample again.` };
  }

  async #sample(name: string): Promise<Recording> {
    const sample = this.samples[name] ?? (await fetchSample(this.stages!, name));
    await Promise.all([prepareMel(sample.wave), prepareMel(sample.decoded)]);
    this.samples = { ...this.samples, [name]: this.samples[name] ?? sample };
    return this.samples[name];
  }

  get ready(): boolean {
    return this.model.phase === "ready";
  }

  get frame(): number {
    return this.#frameAt(this.moment_s);
  }

  /** The playback position in the whole recording, or null if it is not playing or the section is not in view. */
  playing_s(section: string): number | null {
    if (!player.name?.startsWith("whole") || !this.recording || !sectionsInView.has(section)) return null;
    return Math.min(player.position_s, this.#end_s);
  }

  /** Like `playing_s`, for lines that move smoothly. It is null for readers who prefer reduced motion. */
  cursor_s(section: string): number | null {
    return motion.reduced ? null : this.playing_s(section);
  }

  /** The frame that a section shows: the one that is playing, or the chosen one. */
  frameIn(section: string): number {
    return this.#frameAt(this.playing_s(section) ?? this.moment_s);
  }

  /** Choose the frame at a position, given in frames. */
  setFrame(position: number): void {
    this.setMoment((Math.floor(position) + 0.5) * FRAME_S);
  }

  /** Choose a moment in the recording. The last frame can be padded, so its middle can be past the end. */
  setMoment(seconds: number): void {
    this.moment_s = Math.min(seconds, this.#end_s);
  }

  /** The last moment of the recording. */
  get #end_s(): number {
    return duration_s(this.recording!) - 1e-3;
  }

  /** Show a recording that is loaded. */
  show(recording: Recording): void {
    this.#begin();
    this.#put(recording);
  }

  /** The levels of a recording after the reader's changes, or null if there are none. */
  edited(recording: Recording): Uint8Array | null {
    return this.#edits.get(recording) ?? null;
  }

  /** Keep changed levels of a recording; null undoes all changes. */
  edit(recording: Recording, levels: Uint8Array | null): void {
    if (levels) this.#edits.set(recording, levels);
    else this.#edits.delete(recording);
  }

  #put(recording: Recording): void {
    player.stop();
    if (recording.source !== "sample" && !this.own.includes(recording)) {
      const all = [...this.own, recording];
      for (const dropped of all.slice(0, -MOST_OWN)) this.#edits.delete(dropped);
      this.own = all.slice(-MOST_OWN);
    }
    this.recording = recording;
    this.moment_s = loudest_s(recording);
    this.#comparing.abort();
    if (recording.source === "sample") void this.#compare(recording);
  }

  /** Open an audio file or a .silk file. */
  open(file: File): Promise<void> {
    return this.#run(async (signal) => {
      const start = new Uint8Array(await file.slice(0, 8).arrayBuffer());
      const name = file.name.replace(/\.[^.]*$/, "") || "recording";
      if (file.name.endsWith(".silk") || (start[0] === 0x89 && start[1] === 0x53)) {
        await this.#openSilk(new Uint8Array(await file.arrayBuffer()), file.name, name, signal);
        return;
      }
      this.#report(signal, "Reading the file", 0);
      await this.#take(await openSound(file), name, file.name, "file", signal);
    });
  }

  /** Encode a recording from the microphone when its samples are ready. */
  takeVoice(samples: Promise<Float32Array>): Promise<void> {
    return this.#run(async (signal) => this.#take(checked(await samples), "my-voice", "Your voice", "microphone", signal));
  }

  /** Encode and decode a recording, and show it. A file that is already open is only shown, with its edits. */
  async #take({ wave, note }: Opened, name: string, base: string, source: Recording["source"], signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw new Canceled();
    const known = this.own.find((one) => one.name === name && one.source === source && equal(one.wave, wave));
    if (known) {
      this.#put(known);
      if (note) this.message = { kind: "note", text: note };
      return;
    }
    const { model, codec } = await this.#model(signal);
    const seconds = wave.length / SAMPLE_RATE;
    const encoded = await model.encode(wave, { signal, progress: (share) => this.#report(signal, "Encoding", share / 2) });
    const decoded = await model.decode(encoded.levels, wave.length, {
      signal,
      progress: (share) => this.#report(signal, "Decoding", 0.5 + share / 2),
    });
    await Promise.all([prepareMel(wave), prepareMel(decoded.wave)]);
    if (signal.aborted) throw new Canceled();
    this.speed = { encode: (1000 * seconds) / encoded.took_ms, decode: (1000 * seconds) / decoded.took_ms };
    this.#put({ name, title: this.#unused(base), source, codec, wave, latents: encoded.latents, levels: encoded.levels, decoded: decoded.wave });
    if (note) this.message = { kind: "note", text: note };
  }

  /** Decode changed levels of the current recording. */
  async decode(levels: Uint8Array, signal?: AbortSignal): Promise<Float32Array> {
    const { wave, gain } = this.recording!;
    const { model } = await this.#model();
    return (await model.decode(levels, wave.length, { signal, gain })).wave;
  }

  #frameAt(seconds: number): number {
    return this.recording ? Math.min(framesOf(this.recording) - 1, Math.floor(seconds / FRAME_S + 1e-6)) : 0;
  }

  /** Stop opening a recording. */
  cancel(): void {
    this.#opening.abort();
    this.work = null;
  }

  /** Cancel the previous task, and run one that shows a recording. Unless it is aborted, report its error and clear its progress. */
  async #run(task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const signal = this.#begin();
    try {
      await task(signal);
    } catch (error) {
      if (!signal.aborted) this.tell(error);
    } finally {
      if (!signal.aborted) this.work = null;
    }
  }

  /** Stop opening the previous recording. Return the signal that stops the next one. */
  #begin(): AbortSignal {
    this.cancel();
    this.message = null;
    this.#opening = new AbortController();
    return this.#opening.signal;
  }

  /** Show progress, unless the reader has canceled the task or started another one. */
  #report(signal: AbortSignal | undefined, what: string, share: number): void {
    if (!signal?.aborted) this.work = { what, share };
  }

  /** A title that no other recording has: "Your voice", "Your voice 2", ... */
  #unused(base: string): string {
    const taken = this.own.map(({ title }) => title);
    for (let n = 2, title = base; ; title = `${base} ${n++}`) if (!taken.includes(title)) return title;
  }

  async #openSilk(bytes: Uint8Array, fileName: string, name: string, signal: AbortSignal): Promise<void> {
    const { nSamples: all, gain, codec: id, ...tokens } = readSilk(bytes, `“${fileName}”`);
    const nSamples = Math.min(all, LONGEST_S * SAMPLE_RATE);
    const levels = tokens.levels.slice(0, nFrames(nSamples) * LATENT_WIDTH);
    const known = this.own.find((one) => one.name === name && one.source === "silk" && one.codec === id && one.gain === gain && equal(one.levels, levels));
    if (known) return this.#put(known);
    const { model, codec, decodes } = await this.#model(signal);
    if (id !== codec && !decodes.includes(id)) throw new SilkError(`“${fileName}” was encoded with ${id}. This page runs ${codec} and cannot decode it.`);
    const { wave } = await model.decode(levels, nSamples, { signal, gain, progress: (share) => this.#report(signal, "Decoding", share) });
    await prepareMel(wave);
    if (signal.aborted) throw new Canceled();
    const latents = Float32Array.from(levels, (level) => level - MIDDLE_LEVEL);
    this.#put({ name, title: this.#unused(fileName), source: "silk", codec: id, wave, decoded: wave, latents, levels, gain });
    const cut = nSamples < all ? ` The figures show its first ${LONGEST_S} s.` : "";
    this.message = { kind: "note", text: `A .silk file contains only tokens, so “Original” plays the decoded audio.${cut}` };
  }

  /** Load the model. */
  load(): void {
    this.model = { phase: "loading", bytes: 0, totalBytes: null };
    this.live = new Model(weightsFolder(), (answer) => {
      if (answer.kind === "loading") this.model = { phase: "loading", bytes: answer.bytes, totalBytes: answer.totalBytes };
      if (answer.kind === "failed") {
        this.model = { phase: "failed" };
        this.message = { kind: "error", text: answer.message };
        if (answer.damaged) void forget(weightsFolder());
        if (this.stages) void this.loadSamples();
      }
      if (answer.kind === "ready") {
        this.model = { phase: "ready", codec: answer.codec, decodes: answer.decodes, bytes: answer.bytes };
        keepPage();
        if (this.stages) void this.loadSamples();
        if (this.recording) void this.#compare(this.recording);
      }
    });
  }

  /** Encode a sample with the live model and compare the tokens with the recorded ones. */
  async #compare(recording: Recording): Promise<void> {
    if (!this.live || this.model.phase !== "ready" || this.parity?.name === recording.name) return;
    this.#comparing = new AbortController();
    const { signal } = this.#comparing;
    try {
      const encoded = await this.live.encode(recording.wave, { signal });
      const decoded = await this.live.decode(encoded.levels, recording.wave.length, { signal });
      const frames = framesOf(recording);
      let equal = 0;
      for (let f = 0; f < frames; f++) {
        const first = f * LATENT_WIDTH;
        const same = (level: number, d: number) => level === recording.levels[first + d];
        equal += Number(encoded.levels.subarray(first, first + LATENT_WIDTH).every(same));
      }
      const seconds = duration_s(recording);
      this.speed = { encode: (1000 * seconds) / encoded.took_ms, decode: (1000 * seconds) / decoded.took_ms };
      this.parity = { name: recording.name, equal, frames };
    } catch (error) {
      this.tell(error);
    }
  }

  /** Throw an error if the model is not loaded and not loading. */
  requireModel(): void {
    if (this.model.phase === "offered") throw new SilkError("This needs the model. Press “Load the model” first.");
    if (this.model.phase === "failed") throw new SilkError("This needs the model, which did not load. Press “Try again” first.");
  }

  async #model(signal?: AbortSignal): Promise<{ model: Model; codec: string; decodes: readonly string[] }> {
    this.requireModel();
    while (this.model.phase === "loading") {
      if (signal?.aborted) throw new Canceled();
      this.#report(signal, "Waiting for the model", 0);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    this.requireModel();
    const { codec, decodes } = this.model as ModelState & { phase: "ready" };
    return { model: this.live!, codec, decodes };
  }

  /** Show an error to the reader, unless it only means that the work was canceled. */
  tell(error: unknown): void {
    if (!(error instanceof Canceled)) this.message = { kind: "error", text: said(error) };
  }
}

/** An absolute address, because the worker resolves relative addresses against its own address. */
const weightsFolder = (): string => new URL("weights/", document.baseURI).href;

function said(error: unknown): string {
  return error instanceof SilkError ? error.message : `Something went wrong: ${(error as Error)?.message ?? error}`;
}

const equal = (a: ArrayLike<number>, b: ArrayLike<number>): boolean => a.length === b.length && Array.prototype.every.call(a, (value, i) => value === b[i]);

/** The middle of the loudest 100 ms: usually a vowel, which shows more than a pause. */
function loudest_s({ wave }: Recording): number {
  const block = SAMPLE_RATE / 10;
  let [best, most] = [0, -1];
  for (let at = 0; at < wave.length; at += block) {
    let energy = 0;
    for (const sample of wave.subarray(at, at + block)) energy += sample * sample;
    if (energy > most) [best, most] = [at, energy];
  }
  return Math.min(best + block / 2, wave.length - 1) / SAMPLE_RATE;
}

export const session = new Session();

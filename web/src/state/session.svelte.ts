/** The state that all figures share: the current recording, the selected moment, the model, and the message to the reader. */

import { Cancelled, Model } from "./live";
import { forget, isStored } from "./model-store";
import { keepPage, savesData } from "./offline";
import { FRAME_S, SAMPLE_RATE, SilkError, readSilk } from "silkcodec";
import { checked, openSound } from "../sound/open";
import { sectionsInView } from "../parts/view";
import { player } from "../sound/player.svelte";
import { SAMPLES, duration_s, fetchSample, framesOf, prepareMel, type RecordedStages, type Recording } from "./recording";

export type ModelState =
  | { phase: "offered" } // the browser saves data, so the reader decides
  | { phase: "loading"; bytes: number; totalBytes: number | null }
  | { phase: "ready"; codec: string; bytes: number; took_ms: number }
  | { phase: "failed"; message: string };

class Session {
  recording = $state.raw<Recording | null>(null);
  samples = $state.raw<Record<string, Recording>>({});
  /** What the page knows about the recorded stages of the samples. */
  stages = $state.raw<RecordedStages | null>(null);
  /** The reader's last recording or file: it stays at hand when a sample is shown. */
  own = $state.raw<Recording | null>(null);
  /** The moment that all figures look at, seconds. */
  moment_s = $state(0);
  model = $state.raw<ModelState>({ phase: "loading", bytes: 0, totalBytes: null });
  /** What the model is at work on for the whole page, and how far. */
  work = $state.raw<{ what: string; share: number } | null>(null);
  message = $state.raw<{ kind: "error" | "note"; text: string } | null>(null);
  /** Of the current sample: whether the live model found the recorded tokens. */
  parity = $state.raw<{ name: string; equal: number; frames: number } | null>(null);
  /** How many times faster than real time the last encoding and decoding were. */
  speed = $state.raw<{ encode: number; decode: number } | null>(null);

  live: Model | null = null;
  #wanted = ""; // the sample that was chosen last, or "" if something else was
  #abort: AbortController | null = null;

  /** Loads the model and shows the first sample. The others follow when the model is there, so that nothing delays it. */
  async start(): Promise<void> {
    try {
      const asked = savesData() && !(await isStored(weightsFolder()));
      if (asked) this.model = { phase: "offered" };
      else this.load();
      this.stages = (await (await fetch("data/recordings.json")).json()) as RecordedStages;
      this.show(await this.#sample(SAMPLES[0].name));
      if (this.model.phase !== "loading") await this.loadSamples();
    } catch (error) {
      this.message = { kind: "error", text: said(error) };
    }
  }

  /** Shows a sample. */
  async choose(name: string): Promise<void> {
    this.cancel();
    try {
      this.#wanted = name;
      const sample = await this.#sample(name);
      if (this.#wanted === name) this.show(sample);
    } catch (error) {
      this.#tell(error);
    }
  }

  /** Loads the samples that are missing. */
  async loadSamples(): Promise<void> {
    for (const { name } of SAMPLES) await this.#sample(name).catch((error) => this.#tell(error));
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

  /** Where the whole recording is playing, for a section that is in view; otherwise null. Hidden figures stand still. */
  playing_s(section: string): number | null {
    if (!player.name?.startsWith("whole") || !this.recording || !sectionsInView.has(section)) return null;
    return Math.min(player.position_s, duration_s(this.recording) - 1e-3);
  }

  /** The frame that a section shows: the one that is playing, or the chosen one. */
  frameIn(section: string): number {
    return this.#frameAt(this.playing_s(section) ?? this.moment_s);
  }

  setFrame(frame: number): void {
    this.moment_s = frame * FRAME_S;
  }

  show(recording: Recording): void {
    this.cancel(); // what was still being opened must not replace what was chosen after it
    player.stop();
    this.#wanted = "";
    if (recording.source !== "sample") this.own = recording;
    this.recording = recording;
    this.moment_s = loudest_s(recording);
    if (recording.source === "sample") void this.#compare(recording);
  }

  /** A file of the reader's: a sound, or a .silk file. */
  async open(file: File): Promise<void> {
    this.message = null;
    try {
      const start = new Uint8Array(await file.slice(0, 8).arrayBuffer());
      const name = file.name.replace(/\.[^.]*$/, "") || "recording";
      if (file.name.endsWith(".silk") || (start[0] === 0x89 && start[1] === 0x53)) {
        await this.#openSilk(new Uint8Array(await file.arrayBuffer()), file.name, name);
        return;
      }
      this.work = { what: "Reading the file", share: 0 };
      const { wave, note } = await openSound(file);
      await this.take(wave, name, file.name, "file");
      if (note && !this.message) this.message = { kind: "note", text: note };
    } catch (error) {
      this.#tell(error);
    } finally {
      this.work = null;
    }
  }

  /** What the microphone heard. */
  async takeVoice(samples: Float32Array): Promise<void> {
    this.message = null;
    try {
      const { wave, note } = checked(samples);
      await this.take(wave, "my-voice", "Your voice", "microphone");
      if (note) this.message = { kind: "note", text: note };
    } catch (error) {
      this.#tell(error);
    } finally {
      this.work = null;
    }
  }

  /** Encodes and decodes a wave, and shows it. */
  async take(wave: Float32Array, name: string, title: string, source: Recording["source"]): Promise<void> {
    const signal = (this.#abort = new AbortController()).signal;
    const { model, codec } = await this.#model(signal);
    const seconds = wave.length / SAMPLE_RATE;
    const encoded = await model.encode(wave, { signal, progress: (share) => (this.work = { what: "Encoding", share: share / 2 }) });
    const decoded = await model.decode(encoded.levels, wave.length, {
      signal,
      progress: (share) => (this.work = { what: "Decoding", share: 0.5 + share / 2 }),
    });
    await Promise.all([prepareMel(wave), prepareMel(decoded.wave)]);
    if (signal.aborted) throw new Cancelled();
    this.speed = { encode: (1000 * seconds) / encoded.took_ms, decode: (1000 * seconds) / decoded.took_ms };
    this.show({ name, title, source, codec, wave, latents: encoded.latents, levels: encoded.levels, decoded: decoded.wave });
  }

  /** Decodes changed levels of the current recording. */
  async decode(levels: Uint8Array, signal?: AbortSignal): Promise<Float32Array> {
    const { model } = await this.#model();
    return (await model.decode(levels, this.recording?.wave.length ?? 0, { signal, gain: this.recording?.gain })).wave;
  }

  #frameAt(seconds: number): number {
    return this.recording ? Math.min(framesOf(this.recording) - 1, Math.floor(seconds / FRAME_S + 1e-6)) : 0;
  }

  cancel(): void {
    this.#abort?.abort();
  }

  async #openSilk(bytes: Uint8Array, fileName: string, name: string): Promise<void> {
    const file = readSilk(bytes, `“${fileName}”`);
    const signal = (this.#abort = new AbortController()).signal;
    const { model, codec } = await this.#model(signal);
    if (file.codec !== codec) throw new SilkError(`“${fileName}” was encoded with ${file.codec}. This page runs ${codec} and cannot decode it.`);
    const decoded = await model.decode(file.levels, file.nSamples, { signal, gain: file.gain, progress: (share) => (this.work = { what: "Decoding", share }) });
    await prepareMel(decoded.wave);
    const latents = Float32Array.from(file.levels, (level) => level - 4);
    this.show({ name, title: fileName, source: "silk", codec, wave: decoded.wave, decoded: decoded.wave, latents, levels: file.levels, gain: file.gain });
    this.message = { kind: "note", text: "A .silk file contains only tokens, so “Original” plays the decoded audio." };
  }

  /** Loads the model. */
  load(): void {
    this.model = { phase: "loading", bytes: 0, totalBytes: null };
    this.live = new Model(weightsFolder(), (answer) => {
      if (answer.kind === "loading") this.model = { phase: "loading", bytes: answer.bytes, totalBytes: answer.totalBytes };
      if (answer.kind === "failed") {
        this.model = { phase: "failed", message: answer.message };
        void forget();
        if (this.stages) void this.loadSamples();
      }
      if (answer.kind === "ready") {
        this.model = { phase: "ready", codec: answer.codec, bytes: answer.bytes, took_ms: answer.took_ms };
        keepPage();
        if (this.stages) void this.loadSamples();
        if (this.recording) void this.#compare(this.recording);
      }
    });
  }

  /** The live model in the place of the recorded stages; its tokens must be theirs. */
  async #compare(recording: Recording): Promise<void> {
    if (!this.live || this.model.phase !== "ready" || this.parity?.name === recording.name) return;
    try {
      const encoded = await this.live.encode(recording.wave);
      const decoded = await this.live.decode(encoded.levels, recording.wave.length);
      const frames = framesOf(recording);
      let equal = 0;
      for (let f = 0; f < frames; f++) {
        const same = (level: number, d: number) => level === recording.levels[f * 128 + d];
        equal += Number(encoded.levels.subarray(f * 128, (f + 1) * 128).every(same));
      }
      const seconds = duration_s(recording);
      this.speed = { encode: (1000 * seconds) / encoded.took_ms, decode: (1000 * seconds) / decoded.took_ms };
      this.parity = { name: recording.name, equal, frames };
    } catch (error) {
      this.#tell(error);
    }
  }

  async #model(signal?: AbortSignal): Promise<{ model: Model; codec: string }> {
    if (this.model.phase === "offered") throw new SilkError("This needs the model. Press “Load the model” first.");
    while (this.model.phase === "loading") {
      if (signal?.aborted) throw new Cancelled();
      this.work = { what: "Waiting for the model", share: 0 };
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (this.model.phase === "failed" || !this.live) throw new SilkError("The model did not load, so only the samples can be shown.");
    return { model: this.live, codec: this.model.codec };
  }

  #tell(error: unknown): void {
    if (!(error instanceof Cancelled)) this.message = { kind: "error", text: said(error) };
  }
}

/** Beside the page; an absolute address, because the worker is not beside it. */
const weightsFolder = (): string => new URL("weights/", document.baseURI).href;

function said(error: unknown): string {
  return error instanceof SilkError ? error.message : `Something went wrong: ${(error as Error)?.message ?? error}`;
}

/** The middle of the loudest vowel or so (of 100 ms): a better place to begin than a pause. */
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

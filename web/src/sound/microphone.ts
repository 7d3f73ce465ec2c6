/** Record the microphone in the browser. The samples are not sent anywhere. */

import { SilkError } from "silkcodec";
import { LONGEST_S, resample } from "./open";
import worklet from "./tap.js?url";

/** Fetch the worklet with the page, so that it is in the browser's cache if the reader records without a network. */
export const prepareMicrophone = (): Promise<unknown> => fetch(worklet).catch(() => {});

export interface Recorder {
  stop(): Promise<Float32Array>; // the recorded samples, at 24 kHz
}

const REFUSED: Record<string, string> = {
  NotAllowedError: "The browser did not allow the microphone. Allow it for this page in the settings of the browser.",
  NotFoundError: "No microphone was found.",
};

/** Start recording. `heard` is called with the loudness (0..1) and the seconds so far, `full` at the maximum duration. */
export async function listen(heard: (level: number, seconds: number) => void, full: () => void): Promise<Recorder> {
  if (!navigator.mediaDevices) throw new SilkError("Browsers allow the microphone only on pages from https or localhost.");
  // Processing for phone calls is off, because it changes the voice before it is encoded.
  const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const context = new AudioContext(); // Before the first await: iOS does not start contexts that are made later.
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error: Error) => {
    void context.close();
    throw new SilkError(REFUSED[error.name] ?? `The microphone did not start: ${error.message}. Other programs may be using it.`);
  });
  const release = () => {
    stream.getTracks().forEach((track) => track.stop());
    return context.close();
  };
  const parts: Float32Array[] = [];
  let samples = 0;
  let tap: AudioWorkletNode;
  try {
    await context.resume();
    await context.audioWorklet.addModule(worklet);
    tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(tap);
  } catch (error) {
    void release();
    throw error;
  }
  tap.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    if (samples >= LONGEST_S * context.sampleRate) {
      tap.port.onmessage = null; // Blocks that are already queued must not call `full` again.
      return full();
    }
    parts.push(data);
    samples += data.length;
    heard(Math.max(...data.map(Math.abs)), samples / context.sampleRate);
  };
  return {
    async stop() {
      tap.port.onmessage = null;
      const { sampleRate } = context;
      await release();
      const wave = new Float32Array(samples);
      parts.reduce((at, part) => (wave.set(part, at), at + part.length), 0);
      return resample(wave, sampleRate);
    },
  };
}

/** Record the microphone in the browser. The samples are not sent anywhere. */

import { SilkError } from "silkcodec";
import { LONGEST_S, resample } from "./open";
import worklet from "./tap.js?url";

/** Fetch the worklet with the page, so that it is in the browser's cache if the reader records without a network. */
export const prepareMicrophone = (): Promise<unknown> => fetch(worklet).catch(() => {});

export interface Recorder {
  stop(): Promise<Float32Array>; // the recorded samples, at 24 kHz
}

/** Start recording. `heard` is called with the loudness (0..1) and the seconds so far, `full` at the maximum duration. */
export async function listen(heard: (level: number, seconds: number) => void, full: () => void): Promise<Recorder> {
  if (!navigator.mediaDevices) throw new SilkError("Browsers allow the microphone only on pages from https or localhost.");
  // Processing for phone calls is off, because it changes the voice before it is encoded.
  const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const context = new AudioContext(); // Before the first await: iOS does not start contexts that are made later.
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error: Error) => {
    void context.close();
    const denied = error.name === "NotAllowedError";
    throw new SilkError(denied ? "The browser did not allow the microphone. Reload the page to be asked again." : "No microphone was found.");
  });
  await context.resume();
  await context.audioWorklet.addModule(worklet);
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  const parts: Float32Array[] = [];
  let samples = 0;
  tap.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    if (samples >= LONGEST_S * context.sampleRate) return full();
    parts.push(data);
    samples += data.length;
    heard(Math.max(...data.map(Math.abs)), samples / context.sampleRate);
  };
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(tap);
  return {
    async stop() {
      stream.getTracks().forEach((track) => track.stop());
      const { sampleRate } = context;
      await context.close();
      const wave = new Float32Array(samples);
      parts.reduce((at, part) => (wave.set(part, at), at + part.length), 0);
      return resample(wave, sampleRate);
    },
  };
}

/** Return a wave as a WAV file with 16 bits per sample. */
import { SAMPLE_RATE } from "silkcodec";

export function writeWav(wave: Float32Array): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(44 + 2 * wave.length);
  const view = new DataView(file.buffer);
  const text = (at: number, letters: string) => file.set(new TextEncoder().encode(letters), at);
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * wave.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, 2 * SAMPLE_RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * wave.length, true);
  wave.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(Math.min(1, Math.max(-1, sample)) * 32767), true));
  return file;
}

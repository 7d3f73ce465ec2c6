/** The parts of the codec in processing order, and the section that explains each part. */

import { LATENT_WIDTH, codebookSizes } from "silkcodec";

export type Part = "wave" | "spectrogram" | "encoder" | "numbers" | "tokens" | "decoder" | "sound";

export const PARTS: { id: Part; title: string; section: string }[] = [
  { id: "wave", title: "waveform", section: "problem" },
  { id: "spectrogram", title: "spectrogram", section: "spectrogram" },
  { id: "encoder", title: "encoder", section: "encoder" },
  { id: "numbers", title: `${LATENT_WIDTH} numbers`, section: "encoder" },
  { id: "tokens", title: `${codebookSizes().length} tokens`, section: "quantize" },
  { id: "decoder", title: "decoder", section: "decoder" },
  { id: "sound", title: "waveform", section: "voice" },
];

/** The sections in order. `short` is for the list of sections and the bar on phones. */
export const CONTENTS = [
  { id: "problem", title: "The size of raw audio", short: "Raw audio" },
  { id: "spectrogram", title: "From waveform to spectrogram", short: "Spectrogram" },
  { id: "encoder", title: "The encoder", short: "Encoder" },
  { id: "codebook", title: "What a codebook is", short: "Codebook" },
  { id: "quantize", title: "Quantization", short: "Quantization" },
  { id: "residual", title: "Residual vector quantization", short: "Residuals" },
  { id: "coverage", title: "Speech that is not in the training set", short: "Coverage" },
  { id: "landscape", title: "Token rates of codecs", short: "Landscape" },
  { id: "listen", title: "Listening comparison", short: "Listening" },
  { id: "gradient", title: "FSQ and the gradient", short: "Gradient" },
  { id: "decoder", title: "The decoder", short: "Decoder" },
  { id: "bandwidth", title: "Bit rate and quality", short: "Bit rate" },
  { id: "voice", title: "Your voice as tokens", short: "Your voice" },
  { id: "quiz", title: "Quiz and glossary", short: "Quiz, glossary" },
];

export const numberOf = (id: string): number => CONTENTS.findIndex((one) => one.id === id) + 1;

/** Names of codecs. */

const NAMES: Record<string, string> = {
  silk: "Silk",
  "codec2:1200": "Codec2, 1,200 bit/s",
  "mimi:8": "Mimi, 8 codebooks",
  "snac:24k": "SNAC, 24 kHz",
  "snac:44k": "SNAC, 44.1 kHz",
  "encodec:1.5k": "EnCodec, 1.5 kbit/s",
  "encodec:6k": "EnCodec, 6 kbit/s",
  "dac:16k": "DAC, 16 kHz",
  "dac:44k": "DAC, 44.1 kHz",
  "opus:6k": "Opus, 6 kbit/s",
  "opus:24k": "Opus, 24 kbit/s",
  gsm: "GSM",
};

/** Return the name of the codec with the given id, such as `opus:6k`. */
export const codecTitle = (id: string): string => NAMES[id] ?? id;

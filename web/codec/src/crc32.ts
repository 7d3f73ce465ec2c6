/** Return the CRC-32 of `data`, as in zlib. To continue an earlier result, pass it as `start`. */
export function crc32(data: Uint8Array, start = 0): number {
  let crc = ~start;
  for (const byte of data) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

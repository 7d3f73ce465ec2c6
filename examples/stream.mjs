// A client for Silk's WebSocket protocol, for browsers and Node.js 22 or newer. docs/protocol.md describes the messages.
//
//   node examples/stream.mjs http://127.0.0.1:8000 TOKEN < speech.s16le     # encode raw samples (24 kHz, mono) to tokens
//
// stream.html is a page that uses these functions with the microphone and the loudspeaker.

function open(url, token, start, onMessage) {
  // A browser cannot set headers of a WebSocket, so the token is sent as a subprotocol.
  const protocols = ["silk.v1", ...(token ? [`silk.bearer.${token}`] : [])];
  const socket = new WebSocket(url.replace(/^http/, "ws") + "/v1/stream", protocols);
  socket.binaryType = "arraybuffer";
  let failure = null;
  let settle;
  const ended = new Promise((resolve, reject) => (settle = { resolve, reject }));
  const started = new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", ...start }));
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return onMessage(data);
      const message = JSON.parse(data);
      if (message.type === "started") resolve(message);
      else if (message.type === "ended") settle.resolve(message);
      else if (message.type === "error") failure = new Error(`${message.code}: ${message.message}`);
      else onMessage(message);
    };
    socket.onclose = ({ code, reason }) => {
      failure ??= new Error(`closed: ${code} ${reason}`);
      reject(failure);
      settle.reject(failure);
    };
  });
  ended.catch(() => {}); // Avoid an unhandled rejection; callers that await `ended` still get the error.
  return { socket, started, ended, end: () => socket.send('{"type":"end"}'), close: () => socket.close() };
}

/** Open a stream that encodes samples. It calls `onTokens(frame, codes)` with the 19 codes of each 400 ms frame. */
export async function encoder(url, token, sampleRate, onTokens) {
  const start = { task: "encode", sample_rate: sampleRate, samples: "s16le", tokens: "json" };
  const stream = open(url, token, start, (message) => {
    if (message.type === "tokens") message.codes.forEach((codes, i) => onTokens(message.frame + i, codes));
  });
  await stream.started;
  return {
    /** Send samples: an Int16Array, or bytes that contain whole samples, of any length. */
    feed: (samples) => stream.socket.send(samples),
    /** End the stream. The promise resolves when the last tokens have arrived. */
    end: () => (stream.end(), stream.ended),
    ended: stream.ended, // rejects if the server ends the stream with an error
    close: stream.close,
  };
}

/** Open a stream that decodes tokens. It calls `onSamples(Float32Array)` with the 9,600 samples (24 kHz) of each frame. */
export async function decoder(url, token, onSamples) {
  const start = { task: "decode", samples: "f32le" };
  const stream = open(url, token, start, (message) => {
    if (message instanceof ArrayBuffer) onSamples(new Float32Array(message));
  });
  await stream.started;
  return {
    /** Send the 19 codes of one frame. */
    feed: (codes) => stream.socket.send(JSON.stringify({ type: "tokens", codes: [codes] })),
    end: () => (stream.end(), stream.ended),
    ended: stream.ended,
    close: stream.close,
  };
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("stream.mjs")) {
  const [url, token] = process.argv.slice(2);
  const print = (frame, codes) => console.log(JSON.stringify({ frame, codes }));
  const stream = await encoder(url, token, 24000, print);
  let odd = Buffer.alloc(0); // the first byte of a sample whose second byte has not arrived
  for await (const block of process.stdin) {
    const bytes = Buffer.concat([odd, block]);
    const whole = bytes.length - (bytes.length % 2);
    if (whole) stream.feed(bytes.subarray(0, whole)); // The server rejects empty messages.
    odd = bytes.subarray(whole);
  }
  console.log(JSON.stringify(await stream.end()));
  stream.close();
}

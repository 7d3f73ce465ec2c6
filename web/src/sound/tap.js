/** Post the input to the page in blocks of 2,048 samples. */
class Tap extends AudioWorkletProcessor {
  block = new Float32Array(2048);
  filled = 0;

  process([[samples]]) {
    if (!samples) return true;
    this.block.set(samples, this.filled);
    this.filled += samples.length;
    if (this.filled === this.block.length) {
      this.port.postMessage(this.block);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("tap", Tap);

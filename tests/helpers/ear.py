"""Measure the audio that a web page plays."""

from __future__ import annotations

# A script that runs before the page. Everything that the page plays also goes through an analyser of 0.7 s.
EAR = """
const Real = window.AudioContext;
window.AudioContext = class extends Real {
  constructor(...options) {
    super(...options);
    window.context = this;
    window.ear = new AnalyserNode(this, { fftSize: 32768, smoothingTimeConstant: 0 });
  }
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (window.context && to === window.context.destination) connect.call(this, window.ear);
  return connect.call(this, to, ...rest);
};
window.pitch = () => {
  const levels = new Float32Array(ear.frequencyBinCount);
  ear.getFloatFrequencyData(levels);
  return (levels.indexOf(Math.max(...levels)) * context.sampleRate) / ear.fftSize;
};
window.lag = (seek) => new Promise((done) => requestAnimationFrame(() =>  // after the page has moved the slider
  done(context.currentTime - Number(document.querySelector(seek).value))));
window.loudness = () => {  // RMS of the last 0.7 s, 5 ms at a time
  const wave = new Float32Array(ear.fftSize);
  ear.getFloatTimeDomainData(wave);
  const step = Math.round(0.005 * context.sampleRate);
  return Array.from({ length: Math.floor(wave.length / step) }, (_, i) =>
    Math.sqrt(wave.slice(i * step, (i + 1) * step).reduce((sum, x) => sum + x * x, 0) / step));
};
"""

// Samples into WAV, in the browser: what was recorded, and the stretch of a recording that is looked at.

const HEADER = 44; // bytes

/** Channels (Float32Array each, in [-1, 1]) at `rate` Hz as a 16-bit WAV blob. */
export function wav(channels, rate) {
  const frames = channels[0].length;
  const width = 2 * channels.length; // bytes of a frame
  const view = new DataView(new ArrayBuffer(HEADER + frames * width));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER - 8 + frames * width, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // whole numbers
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * width, true);
  view.setUint16(32, width, true);
  view.setUint16(34, 16, true); // bits of a sample
  text(36, "data");
  view.setUint32(40, frames * width, true);
  channels.forEach((samples, channel) => {
    for (let frame = 0, at = HEADER + 2 * channel; frame < frames; frame += 1, at += width) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(32768 * samples[frame]))), true);
    }
  });
  return new Blob([view], { type: "audio/wav" });
}

/** `seconds` of a decoded AudioBuffer from `start` on, as WAV. */
export function cut(buffer, start, seconds) {
  const first = Math.round(start * buffer.sampleRate);
  const last = Math.min(buffer.length, first + Math.round(seconds * buffer.sampleRate));
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  return wav(channels.map((samples) => samples.subarray(first, last)), buffer.sampleRate);
}

/** Pieces of one channel, one behind the other. */
export function joined(pieces) {
  const whole = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

// The microphone -> a WAV file. Samples are taken as they are, so that no codec stands between the sound and the model.

import { joined, wav } from "./wav.js";

/** Whether this page may use a microphone: browsers allow it on localhost and over HTTPS alone. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

/** Begin to record; returns `{ seconds(), stop() }`, of which `stop` resolves to a File. Rejects without a microphone. */
export async function record() {
  const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
  const context = new AudioContext();
  await context.audioWorklet.addModule("capture.js");
  const pieces = [];
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  node.port.onmessage = (message) => pieces.push(message.data);
  context.createMediaStreamSource(stream).connect(node);
  return {
    seconds: () => pieces.reduce((sum, piece) => sum + piece.length, 0) / context.sampleRate,
    async stop() {
      stream.getTracks().forEach((track) => track.stop());
      const { sampleRate } = context;
      await context.close();
      return new File([wav([joined(pieces)], sampleRate)], "recording.wav", { type: "audio/wav" });
    },
  };
}

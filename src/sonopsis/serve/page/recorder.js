// The microphone -> a WAV file. Samples are taken as they are, so that no codec stands between the sound and the model.

import { joined, wav } from "./wav.js";

/** Whether this page may use a microphone: browsers allow it on localhost and over HTTPS alone. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

/** Begin to record; returns `{ seconds(), stop() }`, of which `stop` resolves to a File. Rejects without a microphone. */
export async function record() {
  const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
  const pieces = [];
  let context = null;
  const switchOff = async () => {
    stream.getTracks().forEach((track) => track.stop());
    await context?.close();
  };
  try {
    context = new AudioContext();
    await context.audioWorklet.addModule("capture.js");
    const form = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
    const node = new AudioWorkletNode(context, "capture", form);
    node.port.onmessage = (message) => pieces.push(message.data);
    context.createMediaStreamSource(stream).connect(node);
  } catch (error) { // the microphone is on already, and nobody could switch it off later
    await switchOff();
    throw error;
  }
  return {
    seconds: () => pieces.reduce((sum, piece) => sum + piece.length, 0) / context.sampleRate,
    async stop() {
      const { sampleRate } = context;
      await switchOff();
      return new File([wav([joined(pieces)], sampleRate)], "recording.wav", { type: "audio/wav" });
    },
  };
}

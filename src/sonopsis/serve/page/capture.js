// Runs in the browser's audio thread: hands the microphone's samples to the page, a block of 128 at a time.

class Capture extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
}

registerProcessor("capture", Capture);

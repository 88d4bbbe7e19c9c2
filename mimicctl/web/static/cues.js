// Spoken cues and sounds, so that the operator's eyes can stay on the robot.

const TONES = { ready: [440], recording: [880], saved: [660, 990], discarded: [330, 220], lost: [180, 180] };

/** Says what changed between one status and the next. `onCue` is given every text, spoken or not; where it is quiet none is spoken. */
export class Cues {
  constructor(onCue, quiet) {
    this.onCue = onCue;
    this.quiet = quiet;
    this.on = localStorage.getItem("cues") !== "off";
    this.before = null;
    // Browsers keep a page silent until it was touched.
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => this.#unlock(), { once: true });
  }

  turn(on) {
    this.on = on;
    localStorage.setItem("cues", on ? "on" : "off");
    if (!on) globalThis.speechSynthesis?.cancel();
  }

  follow(status) {
    const before = this.before;
    this.before = status;
    // After a reload of the page, what was said before is not said again.
    if (before === null) return;
    if (status.outcomes > before.outcomes) this.say(status.good ? `saved ${status.saved}` : "discarded", status.good ? "saved" : "discarded");
    if (status.phase !== before.phase && status.phase === "ready" && !status.over) this.say("ready", "ready");
    if (status.phase !== before.phase && status.phase === "recording") this.say("recording", "recording");
    if (status.over && !before.over) this.say("finished", "saved");
  }

  say(text, tone) {
    this.onCue(text);
    if (!this.on || this.quiet) return;
    this.#sound(TONES[tone]);
    if (!globalThis.speechSynthesis) return;
    const spoken = new SpeechSynthesisUtterance(text);
    spoken.rate = 1.2;
    speechSynthesis.speak(spoken);
  }

  #unlock() {
    this.audio ??= new AudioContext();
    this.audio.resume();
  }

  #sound(tones) {
    if (this.audio?.state !== "running") return;
    tones.forEach((hertz, i) => {
      const [start, tone, volume] = [this.audio.currentTime + 0.12 * i, this.audio.createOscillator(), this.audio.createGain()];
      tone.frequency.value = hertz;
      volume.gain.setValueAtTime(0.15, start);
      volume.gain.exponentialRampToValueAtTime(0.001, start + 0.11);
      tone.connect(volume).connect(this.audio.destination);
      tone.start(start);
      tone.stop(start + 0.12);
    });
  }
}

/** How often growing text is shown: with each frame while that is cheap, less often as it costs more. */
export class Pace {
  /** The part of the time that showing may take, as the pause after it in multiples of what it took. */
  static readonly #rest = 18;
  static readonly #longest = 500;
  /** Characters that may be copied per millisecond: reading the end of a growing string costs a copy of the whole. */
  static readonly #copied = 6_000;
  #frame: number | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #next = 0;

  /** Calls back in the next frame that is due. A call made before that changes nothing. */
  request(show: () => void): void {
    if (this.#frame !== null || this.#timer !== null) return;
    const pause = this.#next - performance.now();
    const ask = (): void => {
      this.#timer = null;
      this.#frame = requestAnimationFrame(() => {
        this.#frame = null;
        show();
      });
    };
    if (pause > 16) this.#timer = setTimeout(ask, pause - 8);
    else ask();
  }

  /** Showing a text of so many characters took so many milliseconds. */
  took(milliseconds: number, length: number): void {
    const pause = Math.max(milliseconds * Pace.#rest, length / Pace.#copied);
    this.#next = performance.now() + Math.min(pause, Pace.#longest);
  }

  cancel(): void {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#frame = null;
    this.#timer = null;
  }
}

/** How much of a long text is taken in at once, in characters: as much as the frames before it had time for. */
export class Portion {
  static readonly #least = 4_096;
  static readonly #most = 65_536;
  /** Frames that came sooner than the first after one another, in milliseconds, had time left; later than the second, too little. */
  static readonly #quick = 22;
  static readonly #slow = 34;
  #size = 2 * Portion.#least;
  #before: number | null = null;

  /** The size of the portion for a frame at this time. */
  next(now: number): number {
    const took = this.#before === null ? null : now - this.#before;
    this.#before = now;
    if (took !== null && took < Portion.#quick) this.#size = Math.min(Portion.#most, this.#size * 1.5);
    else if (took !== null && took > Portion.#slow) this.#size = Math.max(Portion.#least, this.#size / 2);
    return Math.floor(this.#size);
  }
}

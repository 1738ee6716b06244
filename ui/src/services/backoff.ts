/** How long to wait before the server is asked again, seconds: 1, 2, 3, 5, then always 10. */
export const WAITS_S = [1, 2, 3, 5, 10] as const;

export class Backoff {
  private step = 0;

  /** The next pause, in milliseconds. */
  next(): number {
    const seconds = WAITS_S[Math.min(this.step, WAITS_S.length - 1)] ?? 10;
    this.step += 1;
    return seconds * 1000;
  }

  reset(): void {
    this.step = 0;
  }
}

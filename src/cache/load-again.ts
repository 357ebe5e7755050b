/** Thrown by a load that failed where another source will do: whoever waits starts over, and the next load goes there. */
export class LoadAgain extends Error {
  override readonly name = "LoadAgain";
}

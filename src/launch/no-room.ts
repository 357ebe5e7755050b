/** What programs on a node say when its disk is full: so that this is told apart from what else can go wrong. */

/** tar says of its last piece, of which a part found room, only that it was cut short. */
const FULL = /no space left|disk quota exceeded|wrote only \d+ of \d+ bytes/i;

export function saysNoRoom(stderr: string): boolean {
  return FULL.test(stderr);
}

/** The line that tells why; tar's last one only says that there were others before it. */
export function reasonIn(stderr: string): string {
  const lines = stderr.trim().split("\n");
  const reason =
    lines.find((line) => FULL.test(line)) ?? lines.findLast((line) => !line.startsWith("tar: Exiting"));
  return (reason ?? "").trim();
}

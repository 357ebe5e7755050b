/**
 * Inode numbers: a 53-bit hash of the path, so that they stay the same for as long as the path exists, over refreshes
 * of the tree and over daemons, without being stored anywhere else.
 *
 * A child's number is made from its parent's number and its own name, which makes it a hash of the whole path at the
 * price of hashing one name. Its low 32 bits also serve as the key of the name index. At a million paths two of them
 * share a number with a chance of about 1 in 18,000; nothing but hard-link detection in tools like tar would notice.
 */

/** The root's inode number. */
export const ROOT_INO = 1;

/** Inode number of the child called `bytes[start, start + length)` of the folder with number `parentIno`. */
export function childIno(parentIno: number, bytes: Uint8Array, start: number, length: number): number {
  let h1 = 0xdeadbeef ^ (parentIno >>> 0);
  let h2 = 0x41c6ce57 ^ Math.floor(parentIno / 0x1_0000_0000);
  for (let i = start, end = start + length; i < end; i++) {
    const byte = bytes[i]!;
    h1 = Math.imul(h1 ^ byte, 0x9e3779b1);
    h2 = Math.imul(h2 ^ byte, 0x5f356495);
    // Without the rotation high bits never reach low ones before the end, and long names with equal tails meet.
    h1 = (h1 << 13) | (h1 >>> 19);
    h2 = (h2 << 17) | (h2 >>> 15);
  }
  h1 = Math.imul(h1 ^ (h1 >>> 16), 0x85ebca6b) ^ Math.imul(h2 ^ (h2 >>> 13), 0xc2b2ae35);
  h2 = Math.imul(h2 ^ (h2 >>> 16), 0x85ebca6b) ^ Math.imul(h1 ^ (h1 >>> 13), 0xc2b2ae35);
  const ino = (h2 & 0x1fffff) * 0x1_0000_0000 + (h1 >>> 0);
  // 0 is no inode and 1 is the root.
  return ino > ROOT_INO ? ino : ino + 2;
}
